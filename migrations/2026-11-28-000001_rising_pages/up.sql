-- All hosts that were ever sampled or assigned to a key. The fill factor leaves half of each page
-- free for heap-only tuple updates, because every sample updates the row of its host.
CREATE TABLE hosts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host text COLLATE "C" NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    refreshed_at timestamptz,
    pages jsonb,
    increases jsonb
) WITH (fillfactor = 50);
COMMENT ON COLUMN hosts.host IS 'in lowercase';
COMMENT ON COLUMN hosts.refreshed_at IS 'the time of the newest sample';
COMMENT ON COLUMN hosts.pages IS 'the top pages of the newest sample, in the format of page_samples.pages';
COMMENT ON COLUMN hosts.increases IS 'the top pages with more visitors than before: [{"path","title","visitors","change"}], greatest change first';

-- API keys. Only the digest of a key is stored.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    name text NOT NULL,
    start text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    scopes text[] NOT NULL DEFAULT '{}',
    channels text[],
    usernames text[],
    rate text,
    ends_at timestamptz
);
COMMENT ON COLUMN api_keys.hash IS 'SHA-256 of the key';
COMMENT ON COLUMN api_keys.start IS 'the first characters of the key, for recognition';
COMMENT ON COLUMN api_keys.revoked_at IS 'revoked keys are not deleted, so that they remain revoked';
COMMENT ON COLUMN api_keys.channels IS 'patterns; NULL: all';
COMMENT ON COLUMN api_keys.usernames IS 'patterns; NULL: all';
COMMENT ON COLUMN api_keys.rate IS 'an individual rate limit, such as 100/day; NULL: the default';

-- The hosts that a key grants access to.
CREATE TABLE api_key_hosts (
    key_id uuid NOT NULL REFERENCES api_keys ON DELETE CASCADE,
    host_id bigint NOT NULL REFERENCES hosts ON DELETE CASCADE,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key_id, host_id)
);
CREATE INDEX api_key_hosts_host ON api_key_hosts (host_id);

-- Increases with every change to keys or their hosts, so that a stale copy of the keys in Redis is
-- detected. The version is based on the clock, so that a database restored from a backup does not
-- reuse a version.
CREATE TABLE api_keys_version (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    version bigint NOT NULL DEFAULT extract(epoch FROM clock_timestamp()) * 1000
);
COMMENT ON COLUMN api_keys_version.version IS 'ms since 1970, or the previous version plus one if that is greater';
INSERT INTO api_keys_version DEFAULT VALUES;

CREATE FUNCTION bump_api_keys_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE api_keys_version
        SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
    RETURN NULL;
END
$$;
CREATE TRIGGER bump_version AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION bump_api_keys_version();
CREATE TRIGGER bump_version AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_key_hosts
    FOR EACH STATEMENT EXECUTE FUNCTION bump_api_keys_version();

-- The visitors of the top pages of a host, by sample. Retained for two days.
CREATE TABLE page_samples (
    host_id bigint NOT NULL REFERENCES hosts ON DELETE CASCADE,
    sampled_at timestamptz NOT NULL,
    visitors bigint NOT NULL,
    exact boolean NOT NULL,
    pages jsonb NOT NULL,
    PRIMARY KEY (host_id, sampled_at)
);
COMMENT ON COLUMN page_samples.visitors IS 'the visitors of the whole host';
COMMENT ON COLUMN page_samples.exact IS 'whether every visitor was counted, as opposed to a fraction of them';
COMMENT ON COLUMN page_samples.pages IS '[{"path","title","visitors"}], most visitors first';

-- Hourly rollups of the samples by page. Retained for 400 days. The primary key serves the baseline
-- at an hour of the day and the deletion of old rows by host. The index serves the history of a
-- page.
CREATE TABLE page_hours (
    host_id bigint NOT NULL REFERENCES hosts ON DELETE CASCADE,
    hour timestamptz NOT NULL,
    page bytea NOT NULL,
    samples integer NOT NULL,
    visitors_sum bigint NOT NULL,
    least bigint NOT NULL,
    most bigint NOT NULL,
    path text NOT NULL,
    title text,
    PRIMARY KEY (host_id, hour, page)
) WITH (fillfactor = 80);
COMMENT ON COLUMN page_hours.hour IS 'the start of the hour, in UTC';
COMMENT ON COLUMN page_hours.page IS 'the first 16 bytes of SHA-256 of the path, which may be too long for an index';
COMMENT ON COLUMN page_hours.samples IS 'the number of samples of this hour that contain the page';
COMMENT ON COLUMN page_hours.visitors_sum IS 'the sum of the visitors over these samples';
CREATE INDEX page_hours_page ON page_hours (host_id, page, hour);

-- Stores samples, adds the new samples to the hourly rollups, and returns the number of new
-- samples. A sample that is already stored has no effect. `pages` and `increases` have the format
-- of the table columns.
--
-- Locks the hosts first, in a fixed order, so that only one caller at a time stores samples of a
-- host, and deadlocks are impossible. Each statement sees everything that was committed before it.
-- The name contains a version, because adjacent versions of the publisher run side by side.
CREATE FUNCTION store_samples_v1(
    hosts text[],
    sampled_ats timestamptz[],
    visitors bigint[],
    exact boolean[],
    pages jsonb[],
    increases jsonb[]
) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    stored bigint;
BEGIN
    INSERT INTO hosts (host)
        SELECT DISTINCT name COLLATE "C" FROM unnest(store_samples_v1.hosts) AS one (name)
        WHERE NOT EXISTS (SELECT FROM hosts AS known WHERE known.host = name)
        ORDER BY 1
        ON CONFLICT (host) DO NOTHING;
    PERFORM FROM hosts AS known WHERE known.host = ANY (store_samples_v1.hosts)
        ORDER BY known.host FOR NO KEY UPDATE;

    WITH given AS (
        SELECT known.id, one.*
        FROM unnest(store_samples_v1.hosts, sampled_ats, store_samples_v1.visitors,
                    store_samples_v1.exact, store_samples_v1.pages)
            AS one (host, sampled_at, visitors, exact, pages)
        JOIN hosts AS known ON known.host = one.host
    ), fresh AS (
        INSERT INTO page_samples AS known (host_id, sampled_at, visitors, exact, pages)
            SELECT id, sampled_at, visitors, exact, pages FROM given
            ON CONFLICT (host_id, sampled_at) DO NOTHING
            RETURNING known.host_id, known.sampled_at, known.pages
    ), rolled AS (
        INSERT INTO page_hours AS known
            (host_id, hour, page, samples, visitors_sum, least, most, path, title)
            SELECT host_id, date_trunc('hour', sampled_at, 'UTC') AS hour,
                substring(sha256(convert_to(path, 'UTF8')) FOR 16),
                count(*), sum(page.visitors), min(page.visitors), max(page.visitors), path,
                (array_agg(title ORDER BY sampled_at DESC) FILTER (WHERE title IS NOT NULL))[1]
            FROM fresh, jsonb_to_recordset(fresh.pages)
                AS page (path text, title text, visitors bigint)
            GROUP BY host_id, hour, path
            ON CONFLICT (host_id, hour, page) DO UPDATE SET
                samples = known.samples + excluded.samples,
                visitors_sum = known.visitors_sum + excluded.visitors_sum,
                least = least(known.least, excluded.least),
                most = greatest(known.most, excluded.most),
                title = coalesce(excluded.title, known.title)
    )
    SELECT count(*) INTO stored FROM fresh;

    UPDATE hosts AS known
        SET refreshed_at = newest.sampled_at, pages = newest.pages, increases = newest.increases
        FROM (
            SELECT DISTINCT ON (host) host, sampled_at, pages, increases
            FROM unnest(store_samples_v1.hosts, sampled_ats, store_samples_v1.pages,
                        store_samples_v1.increases)
                AS one (host, sampled_at, pages, increases)
            ORDER BY host, sampled_at DESC
        ) AS newest
        WHERE known.host = newest.host
            AND (known.refreshed_at IS NULL OR known.refreshed_at < newest.sampled_at);
    RETURN stored;
END
$$;

-- Creates a key if its digest does not exist, adds hosts to the key, and returns the id of the key.
-- A revoked key is not changed. All transactions that change keys lock the row of api_keys_version
-- before the keys, which serializes them and prevents deadlocks.
CREATE FUNCTION relate_api_key_v1(
    new_id uuid,
    key_hash bytea,
    key_name text,
    key_start text,
    key_hosts text[]
) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    keys_max CONSTANT bigint := 100000;
    hosts_max CONSTANT bigint := 1000;
    known api_keys;
BEGIN
    INSERT INTO hosts (host)
        SELECT DISTINCT name COLLATE "C" FROM unnest(key_hosts) AS one (name)
        WHERE NOT EXISTS (SELECT FROM hosts WHERE host = name)
        ORDER BY 1
        ON CONFLICT (host) DO NOTHING;

    PERFORM FROM api_keys_version FOR UPDATE;
    SELECT * INTO known FROM api_keys WHERE hash = key_hash;
    IF NOT FOUND THEN
        IF (SELECT count(*) FROM api_keys) >= keys_max THEN
            RAISE program_limit_exceeded USING MESSAGE = format('there are %s API keys already', keys_max);
        END IF;
        INSERT INTO api_keys (id, hash, name, start) VALUES (new_id, key_hash, key_name, key_start)
            RETURNING * INTO known;
    END IF;
    -- Even an INSERT of no rows would increase the version.
    IF known.revoked_at IS NOT NULL OR NOT EXISTS (
        SELECT FROM hosts WHERE host = ANY (key_hosts) AND NOT EXISTS (
            SELECT FROM api_key_hosts WHERE key_id = known.id AND host_id = hosts.id
        )
    ) THEN
        RETURN known.id;
    END IF;

    INSERT INTO api_key_hosts (key_id, host_id)
        SELECT known.id, hosts.id FROM hosts WHERE host = ANY (key_hosts)
        ON CONFLICT DO NOTHING;
    IF (SELECT count(*) FROM api_key_hosts WHERE key_id = known.id) > hosts_max THEN
        RAISE program_limit_exceeded USING MESSAGE = format('a key opens at most %s hosts', hosts_max);
    END IF;
    RETURN known.id;
END
$$;
