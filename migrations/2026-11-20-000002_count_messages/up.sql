-- Behind a long transaction of somebody else's this fails, to be run again, and holds up nobody.
SET LOCAL lock_timeout = '3s';
-- Whoever stores waits from here to the commit: what was stored before it has a number up to the
-- one in statistics_fill and is counted by the next migration, what is stored after it by the trigger.
SELECT last FROM message_sequence FOR UPDATE;

-- Sums over everything that was ever stored: what is deleted from messages stays counted.
CREATE TABLE message_totals (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    messages bigint NOT NULL DEFAULT 0,
    cities bigint NOT NULL DEFAULT 0,
    users bigint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN message_totals.cities IS 'rows of cities';
COMMENT ON COLUMN message_totals.users IS 'rows of usernames';
INSERT INTO message_totals DEFAULT VALUES;

-- Apart from the totals, because it is wide and changes less often.
CREATE TABLE top_cities (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    list json NOT NULL DEFAULT '[]'
);
COMMENT ON COLUMN top_cities.list IS 'the ten first rows of city_counts, most messages first, as a snapshot has them';
INSERT INTO top_cities DEFAULT VALUES;

-- Bytes are compared, not words: case and blanks matter, and no new collation breaks an index.
CREATE TABLE cities (city text COLLATE "C" PRIMARY KEY);
CREATE TABLE usernames (username text COLLATE "C" PRIMARY KEY);

-- Half of a page is kept free: a count is then raised in place, without the index. Therefore none
-- is kept of messages either, and the ten first ones stand in top_cities.
CREATE TABLE city_counts (
    city text COLLATE "C" NOT NULL,
    state text COLLATE "C",
    messages bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (city, state)
) WITH (fillfactor = 50);

-- Messages by the second of created_at, in a ring: a row serves again 70 minutes later. Nothing has
-- to be deleted, and whoever reads it meets 4,200 rows, whatever is stored.
CREATE TABLE message_seconds (
    place integer PRIMARY KEY CHECK (place BETWEEN 0 AND 4199),
    second timestamptz NOT NULL,
    messages bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON COLUMN message_seconds.place IS 'seconds since 1970 modulo 4200';
INSERT INTO message_seconds (place, second, messages)
    SELECT place, 'epoch', 0 FROM generate_series(0, 4199) AS place;

-- How far the messages that were stored before the trigger are counted.
CREATE TABLE statistics_fill (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    filled_to bigint NOT NULL,
    up_to bigint NOT NULL
);
COMMENT ON COLUMN statistics_fill.filled_to IS 'messages.seq up to which is counted; the statistics are true when this is up_to';
INSERT INTO statistics_fill (filled_to, up_to) SELECT 0, last FROM message_sequence;

-- Counts the rows of the transition table stored_messages.
--
-- No plan depends on how large a table is: rows are put in over a unique index, or there is one.
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
    -- One counts at a time. Workers do anyway; who inserts in another way waits here, and each
    -- statement below sees what was committed before.
    PERFORM FROM message_totals FOR UPDATE;

    INSERT INTO usernames (username)
        SELECT DISTINCT username COLLATE "C" FROM stored_messages WHERE username IS NOT NULL
        ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS new_users = ROW_COUNT;

    IF placed > 0 THEN
        SELECT list INTO before FROM top_cities;
        -- Counts only rise: whoever is among the ten first now was so before, or is counted here.
        WITH counted AS (
            INSERT INTO city_counts AS known (city, state, messages)
                SELECT city COLLATE "C", state COLLATE "C", count(*) FROM stored_messages
                WHERE city IS NOT NULL
                GROUP BY 1, 2
                ON CONFLICT (city, state)
                DO UPDATE SET messages = known.messages + excluded.messages
                -- Of a row that was there, xmax is this transaction, which locked it.
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

    -- An hour is asked for; ten minutes ahead are for clocks that do not agree. Together they are
    -- a turn of the ring, so two seconds never want one row.
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

-- On the table and not in store_messages_v1: whoever stores, in whatever version, counts; and what
-- ON CONFLICT DO NOTHING left out is no row here.
CREATE TRIGGER count_messages AFTER INSERT ON messages
    REFERENCING NEW TABLE AS stored_messages
    FOR EACH STATEMENT EXECUTE FUNCTION count_messages_v1();

-- Counts what was stored before the trigger, a chunk of numbers at a time, and commits each time. Cut
-- off, it goes on where it was; several at once take turns.
--
-- A chunk goes through a table of this session with the same trigger. Whoever stores waits for one
-- chunk at most: after each there is a pause as long as it took.
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
