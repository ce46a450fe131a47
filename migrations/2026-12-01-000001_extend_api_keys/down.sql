SELECT FROM api_keys_version FOR UPDATE;
-- The previous version grants every key that is not revoked access to its hosts.
UPDATE api_keys SET revoked_at = now()
    WHERE revoked_at IS NULL
        AND (ends_at IS NOT NULL OR requires > 1 OR NOT scopes && '{read,operate}');
UPDATE api_keys SET scopes = '{}', channels = NULL, usernames = NULL, rate = NULL, ends_at = NULL;
ALTER TABLE api_keys
    ALTER COLUMN scopes SET DEFAULT '{}',
    ALTER COLUMN channels DROP DEFAULT,
    ALTER COLUMN usernames DROP DEFAULT,
    DROP CONSTRAINT api_keys_rate,
    DROP COLUMN public_id,
    DROP COLUMN hosts,
    DROP COLUMN plays_rate,
    DROP COLUMN visits_rate,
    DROP COLUMN previous_hash,
    DROP COLUMN previous_ends_at,
    DROP COLUMN requires;
COMMENT ON COLUMN api_keys.scopes IS NULL;
COMMENT ON COLUMN api_keys.rate IS 'an individual rate limit, such as 100/day; NULL: the default';
COMMENT ON COLUMN api_keys.ends_at IS NULL;
