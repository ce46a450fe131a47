CREATE OR REPLACE FUNCTION store_messages_v1(
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
