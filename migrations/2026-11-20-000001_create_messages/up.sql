-- The stored messages, one row per message.
CREATE TABLE messages (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL,
    channel text NOT NULL,
    username text,
    text text,
    data json,
    city text,
    state text,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    body_bytes integer NOT NULL
);
COMMENT ON COLUMN messages.seq IS 'the order of persistence: increases in the order of commits; gaps are harmless';
COMMENT ON COLUMN messages.data IS 'json instead of jsonb, to preserve digits and the order of keys as sent';
COMMENT ON COLUMN messages.expires_at IS 'the end of the time to live, or the time of a take or a deletion';
COMMENT ON COLUMN messages.body_bytes IS 'the size of the message as JSON, to limit a page in bytes without reading its messages';

CREATE UNIQUE INDEX messages_seq ON messages (seq);
CREATE INDEX messages_channel_seq ON messages (channel, seq);
CREATE INDEX messages_username_seq ON messages (username, seq) WHERE username IS NOT NULL;

-- The last assigned sequence number. Transactions that store messages lock this row until they
-- commit. Therefore, a smaller number never becomes visible after a larger one, and keyset
-- pagination by sequence number misses no message.
CREATE TABLE message_sequence (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    last bigint NOT NULL
);
INSERT INTO message_sequence (last) VALUES (0);

-- Takes and deletions that arrived before their message.
CREATE TABLE early_expiries (
    id uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

-- Running totals for each epoch of Redis. Retention does not change them.
CREATE TABLE ledger (
    epoch text NOT NULL,
    kind text NOT NULL,
    accepted bigint NOT NULL DEFAULT 0,
    stored bigint NOT NULL DEFAULT 0,
    dead_lettered bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    PRIMARY KEY (epoch, kind)
);
COMMENT ON COLUMN ledger.accepted IS 'as last read from Redis, once per second; the current number is in Redis';

-- Entries that Postgres rejected or that could not be decoded.
CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream text NOT NULL,
    epoch text NOT NULL,
    entry_id text NOT NULL,
    kind text NOT NULL,
    message_id uuid,
    body bytea NOT NULL,
    meta text NOT NULL,
    reason text NOT NULL,
    attempts integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (stream, epoch, entry_id)
);
CREATE INDEX dead_letters_message_id ON dead_letters (message_id) WHERE message_id IS NOT NULL;

-- Applies expiries to the rows of their messages, or stores them in early_expiries until the
-- message arrives. Returns the ids of the messages with a settled expiry: the expiry was applied to
-- the message, or the message is a dead letter and its expiry time remains in early_expiries.
--
-- Every call uses a custom plan, because a plan that was cached while the tables were small would
-- still use sequential scans after the tables have grown.
CREATE FUNCTION apply_expiries_v1(
    ids uuid[],
    expired_ids uuid[],
    expired_at timestamptz[],
    OUT settled uuid[]
) LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    INSERT INTO early_expiries AS known (id, expires_at)
        SELECT expiry.id, min(expiry.at)
        FROM unnest(expired_ids, expired_at) AS expiry (id, at)
        GROUP BY expiry.id
        ON CONFLICT (id) DO UPDATE SET expires_at = least(known.expires_at, excluded.expires_at);

    WITH known AS (
        SELECT early.id, early.expires_at FROM early_expiries early
        WHERE early.id = ANY (ids) OR early.id = ANY (expired_ids)
    ), applied AS (
        UPDATE messages SET expires_at = least(messages.expires_at, known.expires_at)
        FROM known WHERE messages.id = known.id
        RETURNING messages.id
    ), forgotten AS (
        DELETE FROM early_expiries USING applied WHERE early_expiries.id = applied.id
    ), done AS (
        SELECT applied.id FROM applied
        UNION ALL
        SELECT known.id FROM known JOIN dead_letters ON dead_letters.message_id = known.id
    )
    SELECT coalesce(array_agg(done.id), '{}') INTO settled FROM done;
END
$$;

-- Stores the new messages and the expiries of a batch. An expiry may arrive before its message.
-- Returns the number of new messages, and the ids of the messages with a settled expiry.
--
-- This is a function because each of its statements takes a new snapshot, so the statements after
-- the lock see everything that was committed before the lock was acquired. A single statement with
-- several parts would use the snapshot from its start. The arrays of message columns have the same
-- length.
-- The name contains a version, because adjacent versions of the worker run side by side.
CREATE FUNCTION store_messages_v1(
    batch_epoch text,
    ids uuid[],
    channels text[],
    usernames text[],
    texts text[],
    documents text[],
    cities text[],
    states text[],
    created timestamptz[],
    expires timestamptz[],
    bytes integer[],
    expired_ids uuid[],
    expired_at timestamptz[],
    OUT stored bigint,
    OUT settled uuid[]
) LANGUAGE plpgsql AS $$
DECLARE
    base bigint;
BEGIN
    UPDATE message_sequence SET last = last + cardinality(ids)
        RETURNING last - cardinality(ids) INTO base;

    BEGIN
        -- The fast path: usually none of the messages exists yet.
        INSERT INTO messages (id, seq, channel, username, text, data, city, state, created_at,
                              expires_at, body_bytes)
            SELECT new.id, base + new.place, new.channel, new.username, new.text,
                   new.document::json, new.city, new.state, new.created_at, new.expires_at, new.bytes
            FROM unnest(ids, channels, usernames, texts, documents, cities, states, created,
                        expires, bytes)
                WITH ORDINALITY AS new (id, channel, username, text, document, city, state,
                                        created_at, expires_at, bytes, place);
        GET DIAGNOSTICS stored = ROW_COUNT;
    EXCEPTION WHEN unique_violation THEN
        -- Some messages were redelivered after they were stored. Inserts only the new ones.
        INSERT INTO messages (id, seq, channel, username, text, data, city, state, created_at,
                              expires_at, body_bytes)
            SELECT new.id, base + new.place, new.channel, new.username, new.text,
                   new.document::json, new.city, new.state, new.created_at, new.expires_at, new.bytes
            FROM unnest(ids, channels, usernames, texts, documents, cities, states, created,
                        expires, bytes)
                WITH ORDINALITY AS new (id, channel, username, text, document, city, state,
                                        created_at, expires_at, bytes, place)
            ON CONFLICT (id) DO NOTHING;
        GET DIAGNOSTICS stored = ROW_COUNT;
    END;

    IF stored > 0 THEN
        INSERT INTO ledger AS known (epoch, kind, stored) VALUES (batch_epoch, 'messages', stored)
            ON CONFLICT (epoch, kind) DO UPDATE SET stored = known.stored + excluded.stored;
    END IF;

    settled := '{}';
    IF cardinality(expired_ids) > 0 OR EXISTS (SELECT FROM early_expiries) THEN
        SELECT done.settled INTO settled FROM apply_expiries_v1(ids, expired_ids, expired_at) AS done;
    END IF;
    IF stored < cardinality(ids) THEN
        -- Some messages were already stored, and the worker that stored them may have crashed
        -- before it reported the settled expiries.
        settled := settled || ARRAY(
            SELECT messages.id FROM unnest(ids, expires) AS again (id, expires_at)
            JOIN messages USING (id) WHERE messages.expires_at <= again.expires_at);
    END IF;
END
$$;

-- Does the same as store_messages_v1 for an entry that is processed individually. If Postgres
-- rejects this particular entry, returns the reason in `refusal`. Other failures, such as a full
-- disk, a lock timeout or a shutdown, are errors.
CREATE FUNCTION try_store_messages_v1(
    batch_epoch text,
    ids uuid[],
    channels text[],
    usernames text[],
    texts text[],
    documents text[],
    cities text[],
    states text[],
    created timestamptz[],
    expires timestamptz[],
    bytes integer[],
    expired_ids uuid[],
    expired_at timestamptz[],
    OUT stored bigint,
    OUT settled uuid[],
    OUT refusal text
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT result.stored, result.settled INTO stored, settled
    FROM store_messages_v1(batch_epoch, ids, channels, usernames, texts, documents, cities, states,
                           created, expires, bytes, expired_ids, expired_at) AS result;
EXCEPTION WHEN OTHERS THEN
    -- Data exceptions, constraint violations, program limits, errors raised by triggers.
    IF left(SQLSTATE, 2) NOT IN ('22', '23', '54', 'P0') THEN
        RAISE;
    END IF;
    stored := 0;
    settled := '{}';
    refusal := SQLSTATE || ' ' || SQLERRM;
END
$$;
