-- Fails instead of blocking writers if a long-running transaction holds a lock; can be run again.
SET LOCAL lock_timeout = '3s';

-- The number of rows of dead_letters: counting them takes longer with each.
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
-- Triggers instead of code in the service, so that workers of the previous version, and operators
-- who delete rows, count too.
CREATE TRIGGER count_inserted AFTER INSERT ON dead_letters
    REFERENCING NEW TABLE AS changed_letters
    FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters_v1();
CREATE TRIGGER count_deleted AFTER DELETE ON dead_letters
    REFERENCING OLD TABLE AS changed_letters
    FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters_v1();
CREATE TRIGGER count_truncated AFTER TRUNCATE ON dead_letters
    FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters_v1();

-- The triggers hold a lock that excludes writers until the commit.
INSERT INTO dead_letter_totals (letters) SELECT count(*) FROM dead_letters;
