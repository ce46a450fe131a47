-- If a long-running transaction holds a lock, this migration fails instead of blocking writers, and
-- can be run again.
SET LOCAL lock_timeout = '3s';

-- The number of rows in dead_letters. Counting the rows would take longer with every new row.
CREATE TABLE dead_letter_totals (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    letters bigint NOT NULL
);
COMMENT ON COLUMN dead_letter_totals.letters IS 'rows of dead_letters';

CREATE FUNCTION count_dead_letters_v1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE dead_letter_totals SET letters = 0;
        RETURN NULL;
    END IF;
    SELECT count(*) INTO changed FROM changed_letters;
    IF changed > 0 THEN
        UPDATE dead_letter_totals
            SET letters = letters + CASE TG_OP WHEN 'INSERT' THEN changed ELSE -changed END;
    END IF;
    RETURN NULL;
END
$$;
-- Triggers instead of code in the service, so that changes by operators and by workers of the
-- previous version are also counted.
CREATE TRIGGER count_inserted AFTER INSERT ON dead_letters
    REFERENCING NEW TABLE AS changed_letters
    FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters_v1();
CREATE TRIGGER count_deleted AFTER DELETE ON dead_letters
    REFERENCING OLD TABLE AS changed_letters
    FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters_v1();
CREATE TRIGGER count_truncated AFTER TRUNCATE ON dead_letters
    FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters_v1();

-- The creation of the triggers locks the table against writers until the commit.
INSERT INTO dead_letter_totals (letters) SELECT count(*) FROM dead_letters;
