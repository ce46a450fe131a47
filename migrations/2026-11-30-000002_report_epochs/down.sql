DROP TABLE ledger_reports;
ALTER TABLE ledger DROP COLUMN newest, DROP COLUMN resumed, DROP COLUMN writers;
