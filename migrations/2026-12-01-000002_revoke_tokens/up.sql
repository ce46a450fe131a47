-- Revoked tokens: a single token by its ID (the claim jti), or the tokens of a subject (the claim
-- sub) that were issued before a time.
CREATE TABLE token_revocations (
    id uuid PRIMARY KEY,
    token_id text COLLATE "C" UNIQUE CHECK (token_id <> ''),
    subject text COLLATE "C" UNIQUE CHECK (subject <> ''),
    issued_before timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    CHECK ((token_id IS NULL) <> (subject IS NULL)),
    CHECK ((subject IS NULL) = (issued_before IS NULL))
);
COMMENT ON COLUMN token_revocations.token_id IS 'the claim jti of the revoked token; NULL: the tokens of a subject';
COMMENT ON COLUMN token_revocations.subject IS 'the claim sub of the revoked tokens; NULL: a single token';
COMMENT ON COLUMN token_revocations.issued_before IS 'tokens of the subject that were issued later stay valid';
COMMENT ON COLUMN token_revocations.expires_at IS 'when no matching token is valid any longer; NULL: unknown';

-- Increases with every change to the revocations, as api_keys_version does for the keys.
CREATE TABLE token_revocations_version (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    version bigint NOT NULL DEFAULT extract(epoch FROM clock_timestamp()) * 1000
);
COMMENT ON COLUMN token_revocations_version.version IS 'ms since 1970, or the previous version plus one if that is greater';
INSERT INTO token_revocations_version DEFAULT VALUES;

CREATE FUNCTION bump_token_revocations_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE token_revocations_version
        SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
    RETURN NULL;
END
$$;
CREATE TRIGGER bump_version AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON token_revocations
    FOR EACH STATEMENT EXECUTE FUNCTION bump_token_revocations_version();

-- Stores a revocation and returns its row. `lifetime_ms` is the longest lifetime of the matching
-- tokens, or NULL. A second revocation of the same token or subject extends the first one and never
-- shortens it. Deletes expired revocations first. All transactions that change revocations lock the
-- row of token_revocations_version before the revocations.
CREATE FUNCTION revoke_tokens_v1(
    new_id uuid,
    new_token_id text,
    new_subject text,
    new_issued_before timestamptz,
    lifetime_ms bigint
) RETURNS SETOF token_revocations LANGUAGE plpgsql AS $$
DECLARE
    revocations_max CONSTANT bigint := 100000;
    -- The clock of the issuer may differ from this clock.
    margin CONSTANT interval := interval '5 minutes';
    known token_revocations;
    ends_at timestamptz;
BEGIN
    IF new_subject IS NOT NULL AND new_issued_before IS NULL THEN
        new_issued_before := clock_timestamp();
    END IF;
    ends_at := greatest(clock_timestamp(), new_issued_before)
        + make_interval(secs => lifetime_ms / 1000.0) + margin;

    PERFORM FROM token_revocations_version FOR UPDATE;
    -- Even a DELETE of no rows would increase the version.
    IF EXISTS (SELECT FROM token_revocations WHERE expires_at <= clock_timestamp()) THEN
        DELETE FROM token_revocations WHERE expires_at <= clock_timestamp();
    END IF;

    SELECT * INTO known FROM token_revocations
        WHERE token_id = new_token_id OR subject = new_subject;
    IF FOUND THEN
        RETURN QUERY UPDATE token_revocations SET
            issued_before = greatest(issued_before, new_issued_before),
            -- greatest() would ignore NULL, which means an unlimited time.
            expires_at = CASE WHEN expires_at IS NOT NULL THEN
                CASE WHEN ends_at IS NOT NULL THEN greatest(expires_at, ends_at) END
            END
            WHERE id = known.id RETURNING *;
        RETURN;
    END IF;
    IF (SELECT count(*) FROM token_revocations) >= revocations_max THEN
        RAISE program_limit_exceeded
            USING MESSAGE = format('there are %s token revocations already', revocations_max);
    END IF;
    RETURN QUERY INSERT INTO token_revocations (id, token_id, subject, issued_before, expires_at)
        VALUES (new_id, new_token_id, new_subject, new_issued_before, ends_at) RETURNING *;
END
$$;
