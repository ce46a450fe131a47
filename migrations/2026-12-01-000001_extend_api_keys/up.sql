-- If a long-running transaction holds a lock, this migration fails instead of blocking writers, and
-- can be run again.
SET LOCAL lock_timeout = '3s';
-- All transactions that change keys lock this row before the keys.
SELECT FROM api_keys_version FOR UPDATE;

-- The scopes and patterns of a key, its own limits, its expiry time and its previous secret. Some
-- of the columns exist already, but no service has used them yet.
ALTER TABLE api_keys
    ADD COLUMN public_id text COLLATE "C" UNIQUE CHECK (public_id ~ '^[0-9A-Za-z]{12}$'),
    ADD COLUMN hosts text[],
    ADD COLUMN plays_rate text CHECK (plays_rate ~ '^[1-9][0-9]{0,8}/(second|minute|hour|day)$'),
    ADD COLUMN visits_rate text CHECK (visits_rate ~ '^[1-9][0-9]{0,8}/(second|minute|hour|day)$'),
    ADD COLUMN previous_hash bytea UNIQUE CHECK (octet_length(previous_hash) = 32),
    ADD COLUMN previous_ends_at timestamptz,
    ADD COLUMN requires integer NOT NULL DEFAULT 1 CHECK (requires > 0),
    ADD CONSTRAINT api_keys_previous
        CHECK ((previous_hash IS NULL) = (previous_ends_at IS NULL)),
    ADD CONSTRAINT api_keys_rate
        CHECK (rate ~ '^[1-9][0-9]{0,8}/(second|minute|hour|day)$');
COMMENT ON COLUMN api_keys.public_id IS 'the part of the key that is not secret: mf_<public_id>_<secret>; NULL: the key has no such part';
COMMENT ON COLUMN api_keys.scopes IS 'publish, subscribe, read, take, operate';
COMMENT ON COLUMN api_keys.hosts IS 'patterns, in addition to the hosts in api_key_hosts; NULL: all';
COMMENT ON COLUMN api_keys.rate IS 'the limit for messages, such as 100/day; NULL: none';
COMMENT ON COLUMN api_keys.plays_rate IS 'the limit for plays; NULL: none';
COMMENT ON COLUMN api_keys.visits_rate IS 'the limit for visits; NULL: none';
COMMENT ON COLUMN api_keys.ends_at IS 'when the key expires; NULL: never';
COMMENT ON COLUMN api_keys.previous_hash IS 'SHA-256 of the secret before the last rotation';
COMMENT ON COLUMN api_keys.previous_ends_at IS 'when the secret before the last rotation expires';
COMMENT ON COLUMN api_keys.requires IS 'the format of the restrictions; services that support only earlier formats refuse the key';

-- A key of the previous version grants access to the pages of its hosts and to nothing else: it
-- must not begin to read messages and inboxes. The defaults apply to the keys that
-- relate_api_key_v1 creates, which the previous version and stats-publisher call.
ALTER TABLE api_keys
    ALTER COLUMN scopes SET DEFAULT '{read}',
    ALTER COLUMN channels SET DEFAULT '{}',
    ALTER COLUMN usernames SET DEFAULT '{}',
    ALTER COLUMN hosts SET DEFAULT '{}';
UPDATE api_keys SET scopes = DEFAULT, channels = DEFAULT, usernames = DEFAULT, hosts = DEFAULT;
