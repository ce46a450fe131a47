-- If a long-running transaction holds a lock, this migration fails instead of blocking writers, and
-- can be run again.
SET LOCAL lock_timeout = '3s';
-- Blocks writers until the commit. Messages stored earlier have a sequence number up to
-- statistics_fill.up_to, and the next migration counts them. The trigger counts the messages stored
-- afterward.
SELECT last FROM message_sequence FOR UPDATE;

-- Totals over all messages ever stored: deleting messages does not decrease them.
CREATE TABLE message_totals (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    messages bigint NOT NULL DEFAULT 0,
    cities bigint NOT NULL DEFAULT 0,
    users bigint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN message_totals.cities IS 'rows of cities';
COMMENT ON COLUMN message_totals.users IS 'rows of usernames';
INSERT INTO message_totals DEFAULT VALUES;

-- Separate from the totals, because the row is wide and changes less often.
CREATE TABLE top_cities (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    list json NOT NULL DEFAULT '[]'
);
COMMENT ON COLUMN top_cities.list IS 'the top ten rows of city_counts, most messages first, in the format of a snapshot';
INSERT INTO top_cities DEFAULT VALUES;

-- Compared as bytes: case and whitespace are significant, and no collation update breaks an index.
CREATE TABLE cities (city text COLLATE "C" PRIMARY KEY);
CREATE TABLE usernames (username text COLLATE "C" PRIMARY KEY);

-- The fill factor leaves half of each page free for heap-only tuple updates, which require that the
-- column messages is not indexed. The top ten are therefore stored in top_cities.
CREATE TABLE city_counts (
    city text COLLATE "C" NOT NULL,
    state text COLLATE "C",
    messages bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (city, state)
) WITH (fillfactor = 50);

-- Messages by the second of created_at, in a ring buffer: a row is reused after 70 minutes. Nothing
-- has to be deleted, and reads scan 4,200 rows regardless of the number of messages.
CREATE TABLE message_seconds (
    place integer PRIMARY KEY CHECK (place BETWEEN 0 AND 4199),
    second timestamptz NOT NULL,
    messages bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON COLUMN message_seconds.place IS 'seconds since 1970 modulo 4200';
INSERT INTO message_seconds (place, second, messages)
    SELECT place, 'epoch', 0 FROM generate_series(0, 4199) AS place;

-- The progress of counting the messages that were stored before the trigger existed.
CREATE TABLE statistics_fill (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    filled_to bigint NOT NULL,
    up_to bigint NOT NULL
);
COMMENT ON COLUMN statistics_fill.filled_to IS 'messages.seq up to which messages are counted; the statistics are complete when this equals up_to';
INSERT INTO statistics_fill (filled_to, up_to) SELECT 0, last FROM message_sequence;

-- Counts the rows of the transition table stored_messages.
--
-- No plan depends on the size of a table: each statement either inserts rows by a unique index, or
-- uses a table with a fixed number of rows.
CREATE FUNCTION count_messages_v1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stored bigint;
    placed bigint;
    new_users bigint;
    new_cities bigint := 0;
    before json;
    top json;
    present timestamptz;
BEGIN
    SELECT count(*), count(city) INTO stored, placed FROM stored_messages;
    IF stored = 0 THEN
        RETURN NULL;
    END IF;
    -- Serializes counting. Workers are already serialized. Other writers wait here, and each
    -- statement below sees everything that was committed before.
    PERFORM FROM message_totals FOR UPDATE;

    INSERT INTO usernames (username)
        SELECT DISTINCT username COLLATE "C" FROM stored_messages WHERE username IS NOT NULL
        ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS new_users = ROW_COUNT;

    IF placed > 0 THEN
        SELECT list INTO before FROM top_cities;
        -- Counts only increase, so each of the new top ten was in the previous top ten or is
        -- counted here.
        WITH counted AS (
            INSERT INTO city_counts AS known (city, state, messages)
                SELECT city COLLATE "C", state COLLATE "C", count(*) FROM stored_messages
                WHERE city IS NOT NULL
                GROUP BY 1, 2
                ON CONFLICT (city, state)
                DO UPDATE SET messages = known.messages + excluded.messages
                -- In an updated row, xmax is this transaction; in an inserted row, it is 0.
                RETURNING city, state, messages, xmax = 0 AS is_new
        ), added AS (
            INSERT INTO cities (city) SELECT DISTINCT city FROM counted WHERE is_new
                ON CONFLICT DO NOTHING
                RETURNING city
        ), candidates AS (
            (SELECT city, state, messages FROM counted ORDER BY messages DESC, city, state LIMIT 10)
            UNION ALL
            SELECT city COLLATE "C", state COLLATE "C", messages
            FROM json_to_recordset(before) AS first_ones (city text, state text, messages bigint)
        ), best AS (
            SELECT city, state, max(messages) AS messages FROM candidates
            GROUP BY city, state ORDER BY messages DESC, city, state LIMIT 10
        )
        SELECT (SELECT count(*) FROM added), (SELECT json_agg(best) FROM best)
            INTO new_cities, top;
        IF top::text <> before::text THEN
            UPDATE top_cities SET list = top;
        END IF;
    END IF;

    -- The statistics need the last hour, and ten minutes ahead allow for clock skew. Together, they
    -- equal the size of the ring buffer, so that two seconds never share a row.
    present := date_bin('1 second', clock_timestamp(), 'epoch');
    INSERT INTO message_seconds AS known (place, second, messages)
        SELECT extract(epoch FROM second)::bigint % 4200, second, messages
        FROM (
            SELECT date_bin('1 second', created_at, 'epoch') AS second, count(*) AS messages
            FROM stored_messages
            WHERE created_at >= present - interval '60 minutes'
                AND created_at < present + interval '10 minutes'
            GROUP BY 1
        ) AS seconds
        ON CONFLICT (place) DO UPDATE SET
            second = excluded.second,
            messages = excluded.messages
                + CASE WHEN known.second = excluded.second THEN known.messages ELSE 0 END;

    UPDATE message_totals SET
        messages = messages + stored,
        cities = cities + new_cities,
        users = users + new_users;
    RETURN NULL;
END
$$;

-- A trigger on the table instead of code in store_messages_v1, so that every writer of every
-- version counts. Rows skipped by ON CONFLICT DO NOTHING are not in the transition table.
CREATE TRIGGER count_messages AFTER INSERT ON messages
    REFERENCING NEW TABLE AS stored_messages
    FOR EACH STATEMENT EXECUTE FUNCTION count_messages_v1();

-- Counts the messages that were stored before the trigger existed, and commits after each chunk.
-- After an interruption, the next call continues where the last one stopped. Concurrent calls take
-- turns.
--
-- Each chunk is inserted into a temporary table with the same trigger. Writers wait for at most one
-- chunk, because the procedure pauses after each chunk for as long as the chunk took.
CREATE PROCEDURE fill_statistics_v1() LANGUAGE plpgsql AS $$
DECLARE
    chunk CONSTANT bigint := 10000;
    fill statistics_fill;
    next bigint;
    began timestamptz;
BEGIN
    CREATE TEMPORARY TABLE IF NOT EXISTS messages_to_count (
        username text, city text, state text, created_at timestamptz
    ) ON COMMIT DELETE ROWS;
    CREATE OR REPLACE TRIGGER count_messages AFTER INSERT ON messages_to_count
        REFERENCING NEW TABLE AS stored_messages
        FOR EACH STATEMENT EXECUTE FUNCTION count_messages_v1();
    LOOP
        PERFORM last FROM message_sequence FOR UPDATE;
        SELECT * INTO fill FROM statistics_fill FOR UPDATE;
        EXIT WHEN fill.filled_to >= fill.up_to;
        began := clock_timestamp();
        next := least(fill.filled_to + chunk, fill.up_to);
        INSERT INTO messages_to_count
            SELECT username, city, state, created_at FROM messages
            WHERE seq > fill.filled_to AND seq <= next;
        UPDATE statistics_fill SET filled_to = next;
        COMMIT;
        PERFORM pg_sleep(extract(epoch FROM clock_timestamp() - began));
    END LOOP;
    DROP TABLE messages_to_count;
END
$$;
