-- Behind a long transaction of somebody else's this fails, to be run again, and holds up nobody.
SET LOCAL lock_timeout = '3s';

-- How often each video was played. Half of a page is kept free: a count is raised in place.
CREATE TABLE play_counts (
    video_id text COLLATE "C" PRIMARY KEY,
    count bigint NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Sums over all videos.
CREATE TABLE play_totals (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    plays bigint NOT NULL DEFAULT 0,
    videos bigint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN play_totals.plays IS 'the sum of play_counts.count';
COMMENT ON COLUMN play_totals.videos IS 'rows of play_counts';
INSERT INTO play_totals DEFAULT VALUES;

-- Apart from the totals, because it is wide and changes less often.
CREATE TABLE top_videos (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    list json NOT NULL DEFAULT '[]'
);
COMMENT ON COLUMN top_videos.list IS 'the ten first rows of play_counts, most plays first, as a snapshot has them';
INSERT INTO top_videos DEFAULT VALUES;

-- Entries that are counted and not all acknowledged: a row for each batch.
CREATE TABLE counted_entries (
    epoch text NOT NULL,
    ids uuid[] NOT NULL,
    first_ms bigint NOT NULL,
    first_number bigint NOT NULL,
    last_ms bigint NOT NULL,
    last_number bigint NOT NULL
);
COMMENT ON COLUMN counted_entries.ids IS 'what the entries carry themselves: ids of a stream come again after Redis lost data';
COMMENT ON COLUMN counted_entries.first_ms IS 'the place in the stream of the first one, as <ms>-<number>';
COMMENT ON COLUMN counted_entries.last_ms IS 'the place in the stream of the last one, as <ms>-<number>';
CREATE INDEX counted_entries_last ON counted_entries (last_ms, last_number);

-- Up to where all entries of an epoch have their outcome: what is delivered again from there, because
-- Redis lost its acknowledgement or a worker slept over it, is counted. An entry that was accepted
-- after the mark was made is not, wherever it stands: a clock went back.
CREATE TABLE counted_marks (
    epoch text PRIMARY KEY,
    ms bigint NOT NULL,
    number bigint NOT NULL,
    marked_at timestamptz NOT NULL
);
COMMENT ON COLUMN counted_marks.ms IS 'a place in the stream, as <ms>-<number>';

-- Plays that have an id, by a fingerprint of video and id: each counts once within 24 hours. In four
-- parts, a day each in turn: one holds today, two the days before, for what waited long to be counted,
-- and the fourth is emptied before its day comes, so nothing has to be looked through to be forgotten.
CREATE TABLE known_plays (
    part smallint NOT NULL,
    play uuid NOT NULL,
    enqueued_at timestamptz NOT NULL,
    PRIMARY KEY (play, part)
) PARTITION BY LIST (part);
CREATE TABLE known_plays_0 PARTITION OF known_plays FOR VALUES IN (0);
CREATE TABLE known_plays_1 PARTITION OF known_plays FOR VALUES IN (1);
CREATE TABLE known_plays_2 PARTITION OF known_plays FOR VALUES IN (2);
CREATE TABLE known_plays_3 PARTITION OF known_plays FOR VALUES IN (3);
COMMENT ON COLUMN known_plays.part IS 'the day on which it was counted, in days since 1970 modulo 4';

-- What is known to be published of each count, for after a loss of Redis.
CREATE TABLE published_counts (
    video_id text COLLATE "C" PRIMARY KEY,
    count bigint NOT NULL
) WITH (fillfactor = 50);

-- How many items a dead letter brought: messages one, plays as many as were sent at once.
ALTER TABLE dead_letters ADD COLUMN items integer NOT NULL DEFAULT 1;
ALTER TABLE dead_letters ADD COLUMN plays_id uuid;
COMMENT ON COLUMN dead_letters.plays_id IS 'the id that an entry of plays carries itself';
CREATE INDEX dead_letters_plays_id ON dead_letters (plays_id) WHERE plays_id IS NOT NULL;

-- Counts one batch of plays, exactly once: where some of its entries are counted already, because
-- they were delivered again, it says which and does nothing else, to be called again without them.
--
-- Plays without an id come summed up by video; a video with no plays is looked up only. Plays with
-- an id come one by one. Answers with the present count of every video that is named.
--
-- One counts at a time: each statement sees what was committed before it got the lock, and nobody
-- waits for another in a circle. The name carries a version: neighbouring versions of the worker run
-- side by side.
CREATE FUNCTION count_plays_v1(
    batch_epoch text,
    entries uuid[],
    places_ms bigint[],
    places_number bigint[],
    accepted timestamptz[],
    first_ms bigint,
    first_number bigint,
    last_ms bigint,
    last_number bigint,
    videos text[],
    plays bigint[],
    named_videos text[],
    named_plays uuid[],
    named_at timestamptz[],
    OUT counted uuid[],
    OUT repeated bigint,
    OUT count_videos text[],
    OUT counts bigint[],
    OUT updated timestamptz[]
) LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    present timestamptz := date_trunc('milliseconds', clock_timestamp());
    today smallint := (extract(epoch FROM clock_timestamp())::bigint / 86400) % 4;
    fresh_videos text[] := '{}';
    new_plays bigint;
    new_videos bigint;
    before json;
    top json;
BEGIN
    repeated := 0;
    count_videos := '{}';
    counts := '{}';
    updated := '{}';
    PERFORM FROM play_totals FOR UPDATE;

    counted := ARRAY(
        SELECT id
        FROM counted_entries AS known, unnest(known.ids) AS id
        JOIN unnest(entries) AS mine (id) USING (id)
        WHERE (known.last_ms, known.last_number) >= (count_plays_v1.first_ms, count_plays_v1.first_number)
            AND (known.first_ms, known.first_number) <= (count_plays_v1.last_ms, count_plays_v1.last_number)
        UNION
        SELECT mine.id
        FROM unnest(entries, places_ms, places_number, accepted) AS mine (id, ms, number, accepted_at)
        JOIN counted_marks AS mark ON mark.epoch = batch_epoch
            AND (mine.ms, mine.number) <= (mark.ms, mark.number)
            AND mine.accepted_at < mark.marked_at
        UNION
        SELECT plays_id FROM dead_letters WHERE plays_id = ANY (entries)
    );
    IF cardinality(counted) > 0 THEN
        RETURN;
    END IF;
    IF cardinality(entries) > 0 THEN
        INSERT INTO counted_entries (epoch, ids, first_ms, first_number, last_ms, last_number)
            VALUES (batch_epoch, entries, count_plays_v1.first_ms, count_plays_v1.first_number,
                    count_plays_v1.last_ms, count_plays_v1.last_number);
    END IF;

    IF cardinality(named_plays) > 0 THEN
        WITH named AS (
            SELECT DISTINCT ON (play) video, play, enqueued_at
            FROM unnest(named_videos, named_plays, named_at) AS one (video, play, enqueued_at)
            ORDER BY play, enqueued_at
        ), fresh AS (
            SELECT video, play, enqueued_at FROM named
            WHERE NOT EXISTS (
                SELECT FROM known_plays AS known
                WHERE known.play = named.play
                    AND known.enqueued_at > named.enqueued_at - interval '24 hours'
                    AND known.enqueued_at < named.enqueued_at + interval '24 hours'
            )
        ), remembered AS (
            INSERT INTO known_plays (part, play, enqueued_at)
                SELECT today, play, enqueued_at FROM fresh
                ON CONFLICT (play, part) DO UPDATE SET enqueued_at = excluded.enqueued_at
        )
        SELECT coalesce(array_agg(video), '{}') INTO fresh_videos FROM fresh;
    END IF;
    repeated := cardinality(named_plays) - cardinality(fresh_videos);

    SELECT list INTO before FROM top_videos;
    -- Counts only rise: whoever is among the ten first now was so before, or is counted here.
    WITH added AS (
        SELECT video, sum(plays)::bigint AS plays
        FROM (
            SELECT video, plays FROM unnest(videos, count_plays_v1.plays) AS one (video, plays)
            WHERE plays > 0
            UNION ALL
            SELECT video, 1 FROM unnest(fresh_videos) AS one (video)
        ) AS all_of_them
        GROUP BY video
    ), raised AS (
        INSERT INTO play_counts AS known (video_id, count, updated_at)
            SELECT video, plays, present FROM added
            ON CONFLICT (video_id) DO UPDATE SET
                count = known.count + excluded.count,
                updated_at = excluded.updated_at
            -- Of a row that was there, xmax is this transaction, which locked it.
            RETURNING video_id, count, xmax = 0 AS is_new
    ), candidates AS (
        (SELECT video_id, count FROM raised ORDER BY count DESC, video_id LIMIT 10)
        UNION ALL
        SELECT video_id COLLATE "C", count
        FROM json_to_recordset(before) AS first_ones (video_id text, count bigint)
    ), best AS (
        SELECT video_id, max(count) AS count FROM candidates
        GROUP BY video_id ORDER BY count DESC, video_id LIMIT 10
    )
    SELECT
        (SELECT coalesce(sum(added.plays), 0) FROM added),
        (SELECT count(*) FROM raised WHERE is_new),
        (SELECT json_agg(best) FROM best)
        INTO new_plays, new_videos, top;
    IF top::text <> before::text THEN
        UPDATE top_videos SET list = top;
    END IF;
    UPDATE play_totals AS totals SET
        plays = totals.plays + new_plays,
        videos = totals.videos + new_videos
        WHERE new_plays > 0;
    -- All of them have their outcome, also those that did not count again.
    INSERT INTO ledger AS known (epoch, kind, stored)
        SELECT batch_epoch, 'plays', new_plays + repeated WHERE new_plays + repeated > 0
        ON CONFLICT (epoch, kind) DO UPDATE SET stored = known.stored + excluded.stored;

    SELECT array_agg(video_id), array_agg(count), array_agg(updated_at)
        INTO count_videos, counts, updated
        FROM play_counts
        WHERE video_id IN (SELECT unnest(videos) UNION SELECT unnest(named_videos));
    count_videos := coalesce(count_videos, '{}');
    counts := coalesce(counts, '{}');
    updated := coalesce(updated, '{}');
END
$$;

-- The same for what is tried alone: a refusal of this very entry is an answer, in words; what is
-- not the entry's fault (a full disk, a lock, a shutdown) is an error as usual.
CREATE FUNCTION try_count_plays_v1(
    batch_epoch text,
    entries uuid[],
    places_ms bigint[],
    places_number bigint[],
    accepted timestamptz[],
    first_ms bigint,
    first_number bigint,
    last_ms bigint,
    last_number bigint,
    videos text[],
    plays bigint[],
    named_videos text[],
    named_plays uuid[],
    named_at timestamptz[],
    OUT counted uuid[],
    OUT repeated bigint,
    OUT count_videos text[],
    OUT counts bigint[],
    OUT updated timestamptz[],
    OUT refusal text
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT result.counted, result.repeated, result.count_videos, result.counts, result.updated
    INTO counted, repeated, count_videos, counts, updated
    FROM count_plays_v1(batch_epoch, entries, places_ms, places_number, accepted, first_ms,
                        first_number, last_ms, last_number, videos, plays, named_videos, named_plays,
                        named_at) AS result;
EXCEPTION WHEN OTHERS THEN
    -- Data exceptions, broken constraints, limits of the program, errors raised by triggers.
    IF left(SQLSTATE, 2) NOT IN ('22', '23', '54', 'P0') THEN
        RAISE;
    END IF;
    counted := '{}';
    repeated := 0;
    count_videos := '{}';
    counts := '{}';
    updated := '{}';
    refusal := SQLSTATE || ' ' || SQLERRM;
END
$$;

-- Forgets the plays of three days ago: empties the part whose day comes next. Does nothing
-- where it is empty already, or somebody holds it.
CREATE FUNCTION forget_known_plays_v1() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    part text := 'known_plays_' || (extract(epoch FROM clock_timestamp())::bigint / 86400 + 1) % 4;
    has_any boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', part) INTO has_any;
    IF has_any THEN
        SET LOCAL lock_timeout = '100ms';
        EXECUTE format('TRUNCATE %I', part);
    END IF;
    RETURN has_any;
END
$$;
