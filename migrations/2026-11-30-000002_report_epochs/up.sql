-- Reports about the end of an epoch. When Redis loses its data, it also loses the number of
-- accepted items. Every ingest-api process receives this number with each of its writes, and
-- reports the last one afterward.
ALTER TABLE ledger
    ADD COLUMN newest text,
    ADD COLUMN resumed bigint NOT NULL DEFAULT 0,
    ADD COLUMN writers text[];
COMMENT ON COLUMN ledger.newest IS 'the newest entry of the stream when accepted was read';
COMMENT ON COLUMN ledger.resumed IS 'accepted after Redis lost data of the epoch and before that was detected';
COMMENT ON COLUMN ledger.writers IS 'the ingest-api processes that could write when accepted was read; NULL: unknown';

CREATE TABLE ledger_reports (
    epoch text NOT NULL,
    kind text NOT NULL,
    writer text NOT NULL,
    accepted bigint NOT NULL,
    unresolved bigint NOT NULL,
    PRIMARY KEY (epoch, kind, writer)
);
COMMENT ON TABLE ledger_reports IS 'the last number of accepted items of an ended epoch that each ingest-api has seen';
COMMENT ON COLUMN ledger_reports.unresolved IS 'items of writes whose outcome is unknown: they may have been accepted afterward';
