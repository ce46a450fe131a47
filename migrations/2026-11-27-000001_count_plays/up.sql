-- If a long-running transaction holds a lock, this migration fails instead of blocking writers, and
-- can be run again.
SET LOCAL lock_timeout = '3s';

-- The number of plays of each video. The fill factor leaves half of each page free for heap-only
-- tuple updates.
CREATE TABLE play_counts (
    video_id text COLLATE "C" PRIMARY KEY,
    count bigint NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Totals over all videos.
CREATE TABLE play_totals (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    plays bigint NOT NULL DEFAULT 0,
    videos bigint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN play_totals.plays IS 'the sum of play_counts.count';
COMMENT ON COLUMN play_totals.videos IS 'rows of play_counts';
INSERT INTO play_totals DEFAULT VALUES;

-- Separate from the totals, because the row is wide and changes less often.
CREATE TABLE top_videos (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    list json NOT NULL DEFAULT '[]'
);
COMMENT ON COLUMN top_videos.list IS 'the top ten rows of play_counts, most plays first, in the format of a snapshot';
INSERT INTO top_videos DEFAULT VALUES;

-- Entries that have been counted but may not have been acknowledged yet, one row per batch.
CREATE TABLE counted_entries (
    epoch text NOT NULL,
    ids uuid[] NOT NULL,
    first_ms bigint NOT NULL,
    first_number bigint NOT NULL,
    last_ms bigint NOT NULL,
    last_number bigint NOT NULL
);
COMMENT ON COLUMN counted_entries.ids IS 'the ids contained in the entries: Redis may reuse stream entry ids after a data loss';
COMMENT ON COLUMN counted_entries.first_ms IS 'the id of the first entry in the stream, as <ms>-<number>';
COMMENT ON COLUMN counted_entries.last_ms IS 'the id of the last entry in the stream, as <ms>-<number>';
CREATE INDEX counted_entries_last ON counted_entries (last_ms, last_number);

-- For each epoch, a mark up to which all entries have been processed. If an entry up to the mark is
-- redelivered, because Redis lost the acknowledgment or a worker stalled, the entry has already
-- been counted. An entry that was accepted after the mark was set has not been counted yet, even if
-- its id is smaller because a clock was set back.
CREATE TABLE counted_marks (
    epoch text PRIMARY KEY,
    ms bigint NOT NULL,
    number bigint NOT NULL,
    marked_at timestamptz NOT NULL
);
COMMENT ON COLUMN counted_marks.ms IS 'a stream entry id, as <ms>-<number>';

-- Deduplicates plays that have an id, by a fingerprint of video and id: each play counts once
-- within 24 hours. The four partitions are used in rotation, one per day. One is for today. Two are
-- for the preceding days, because plays may wait before they are counted. One is truncated before
-- its day starts, so that no rows have to be searched and deleted.
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
COMMENT ON COLUMN known_plays.part IS 'the day on which the play was counted, in days since 1970 modulo 4';

-- The last published value of each count, to restore it after Redis loses data.
CREATE TABLE published_counts (
    video_id text COLLATE "C" PRIMARY KEY,
    count bigint NOT NULL
) WITH (fillfactor = 50);

-- The number of items in a dead letter: 1 for a message, or the number of plays.
ALTER TABLE dead_letters ADD COLUMN items integer NOT NULL DEFAULT 1;
ALTER TABLE dead_letters ADD COLUMN plays_id uuid;
COMMENT ON COLUMN dead_letters.plays_id IS 'the id contained in an entry of plays';
CREATE INDEX dead_letters_plays_id ON dead_letters (plays_id) WHERE plays_id IS NOT NULL;

-- Counts a batch of plays exactly once. If some entries of the batch are already counted, because
-- they were redelivered, the function only returns these entries, and must be called again without
-- them.
--
-- Plays without an id are passed as sums by video. The count of a video with zero plays is only
-- looked up. Plays with an id are passed individually. Returns the current count of every video in
-- the batch.
--
-- Calls are serialized by a lock. The statements after the lock see everything that was committed
-- before the lock was acquired, and deadlocks are impossible. The name contains a version, because
-- adjacent versions of the worker run side by side.
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
    -- Counts only increase, so each of the new top ten was in the previous top ten or is counted
    -- here.
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
            -- In an updated row, xmax is this transaction; in an inserted row, it is 0.
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
    -- Duplicates are also processed, so the ledger counts them as stored.
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

-- Does the same as count_plays_v1 for an entry that is processed individually. If Postgres rejects
-- this particular entry, returns the reason in `refusal`. Other failures, such as a full disk, a
-- lock timeout or a shutdown, are errors.
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
    -- Data exceptions, constraint violations, program limits, errors raised by triggers.
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

-- Deletes the play ids that were recorded three days ago by truncating the partition of the next
-- day. Returns whether the partition contained rows. Fails if the partition is locked.
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
