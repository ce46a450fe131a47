//! API keys with the hosts that they grant access to. Postgres stores only a digest and the first
//! characters of each key.

use diesel::{
    QueryableByName,
    data_types::PgTimestamp,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mayfly_core::{ApiKey, Host, KeyHash, Timestamp, limits};
use uuid::Uuid;

use crate::store::{ColdError, ColdStore, from_pg};

/// The name of keys registered by [`ApiKeys::register_source_key`].
const SOURCE_KEY_NAME: &str = "accepted by the source";

/// The handle for API keys.
#[derive(Clone, Copy)]
pub struct ApiKeys<'a> {
    store: &'a ColdStore,
}

/// An API key to store.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// The ID. Unlike the key itself, the ID is not secret.
    pub id: Uuid,
    /// The digest of the key.
    pub hash: KeyHash,
    /// The display name.
    pub name: String,
    /// The first characters of the key, which identify the key to its owner.
    pub start: String,
    /// The hosts that the key grants access to.
    pub hosts: Vec<Host>,
}

/// A stored API key with its display data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApiKey {
    /// The key.
    pub key: ApiKey,
    /// The display name.
    pub name: String,
    /// The first characters of the key.
    pub start: String,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time of revocation; `None` if the key has not been revoked.
    pub revoked_at: Option<Timestamp>,
}

/// The outcome of a revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// The key is revoked. This call or an earlier one revoked it.
    Revoked(Box<StoredApiKey>),
    /// No key matches.
    NotFound,
    /// Several keys match. The call revoked none of them.
    Ambiguous(Vec<StoredApiKey>),
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    hash: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    start: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: PgTimestamp,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    revoked_at: Option<PgTimestamp>,
    #[diesel(sql_type = Array<Text>)]
    hosts: Vec<String>,
}

impl From<Row> for StoredApiKey {
    fn from(row: Row) -> Self {
        Self {
            key: ApiKey {
                hash: KeyHash::from_hex(&row.hash)
                    .expect("invariant: a constraint restricts digests to 32 bytes"),
                id: row.id,
                hosts: row.hosts.into_iter().filter_map(|host| Host::parse(host).ok()).collect(),
                is_revoked: row.revoked_at.is_some(),
            },
            name: row.name,
            start: row.start,
            created_at: from_pg(row.created_at),
            revoked_at: row.revoked_at.map(from_pg),
        }
    }
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = BigInt)]
    version: i64,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Selects the columns of a key and the names of its hosts.
macro_rules! select_keys {
    ($rest:literal) => {
        concat!(
            "SELECT id, encode(hash, 'hex') AS hash, name, start, created_at, revoked_at, ARRAY( \
                 SELECT host FROM api_key_hosts JOIN hosts ON hosts.id = host_id \
                 WHERE key_id = api_keys.id ORDER BY host \
             ) AS hosts FROM api_keys ",
            $rest
        )
    };
}

/// Key IDs sort by creation time.
const LIST: &str = select_keys!("WHERE id > $1 ORDER BY id LIMIT $2");

/// Selects up to 20 matching keys, enough to list the candidates for an ambiguous value.
const FIND: &str = select_keys!(
    "WHERE id = $1 OR hash = decode($2, 'hex') OR start = $3 \
     ORDER BY revoked_at IS NOT NULL, id LIMIT 20"
);

const CREATE: &str = "SELECT relate_api_key_v1($1, decode($2, 'hex'), $3, $4, $5) AS id";

/// Every transaction that changes keys locks this row before the keys.
const LOCK: &str = "SELECT FROM api_keys_version FOR UPDATE";

const REVOKE: &str =
    "UPDATE api_keys SET revoked_at = clock_timestamp() WHERE id = $1 AND revoked_at IS NULL";

impl ColdStore {
    /// Returns the handle for API keys.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys { store: self }
    }
}

impl ApiKeys<'_> {
    /// Stores a key with its hosts, and returns the ID of the stored key. If a key with this digest
    /// already exists, adds the hosts to the existing key instead, unless that key is revoked. The
    /// call is rejected if the key is new and [`limits::API_KEYS_MAX`] keys already exist, or if
    /// the key would have more than [`limits::API_KEY_HOSTS_MAX`] hosts.
    ///
    /// Complexity: O(h log n) for h given hosts and n hosts in total, plus O(k) for k keys if
    /// the key is new.
    pub async fn create(self, key: &NewApiKey) -> Result<Uuid, ColdError> {
        let hosts: Vec<&str> = key.hosts.iter().map(Host::as_str).collect();
        self.store
            .call(async |connection| {
                diesel::sql_query(CREATE)
                    .bind::<SqlUuid, _>(key.id)
                    .bind::<Text, _>(key.hash.as_str())
                    .bind::<Text, _>(&key.name)
                    .bind::<Text, _>(&key.start)
                    .bind::<Array<Text>, _>(hosts)
                    .get_result::<Id>(connection)
                    .await
            })
            .await
            .map(|row| row.id)
    }

    /// Lists the keys after an ID, in order of creation.
    ///
    /// Complexity: O(log k + p) for k keys and p listed keys with their hosts.
    pub async fn list(self, after: Uuid, limit: u32) -> Result<Vec<StoredApiKey>, ColdError> {
        self.store
            .call(async |connection| {
                diesel::sql_query(LIST)
                    .bind::<SqlUuid, _>(after)
                    .bind::<Integer, _>(i32::try_from(limit).unwrap_or(i32::MAX))
                    .get_results::<Row>(connection)
                    .await
            })
            .await
            .map(|rows| rows.into_iter().map(StoredApiKey::from).collect())
    }

    /// Revokes the key that `which` identifies by ID, by first characters or by value, if exactly
    /// one key matches. Idempotent.
    ///
    /// Complexity: O(k) for k keys (at most 100,000), because the first characters have no index.
    pub async fn revoke(self, which: &str) -> Result<Revocation, ColdError> {
        let (id, hash) = (Uuid::parse_str(which).ok(), KeyHash::from_key(which));
        self.store
            .call(async |connection| {
                connection
                    .transaction(async |connection| {
                        diesel::sql_query(LOCK).execute(connection).await?;
                        let find = async |connection: &mut AsyncPgConnection| {
                            diesel::sql_query(FIND)
                                .bind::<Nullable<SqlUuid>, _>(id)
                                .bind::<Text, _>(hash.as_str())
                                .bind::<Text, _>(which)
                                .get_results::<Row>(connection)
                                .await
                        };
                        let found = find(connection).await?;
                        let [one] = &found[..] else { return Ok(found) };
                        let revoke = diesel::sql_query(REVOKE).bind::<SqlUuid, _>(one.id);
                        revoke.execute(connection).await?;
                        find(connection).await
                    })
                    .await
            })
            .await
            .map(Revocation::from)
    }

    /// Returns the version of the set of keys. Every change to a key or its hosts increases the
    /// version.
    ///
    /// Complexity: O(1).
    pub async fn find_version(self) -> Result<i64, ColdError> {
        self.store
            .call(async |connection| {
                diesel::sql_query("SELECT version FROM api_keys_version")
                    .get_result::<Version>(connection)
                    .await
            })
            .await
            .map(|row| row.version)
    }

    /// Registers a key that the visitor source accepted for a host. The key and the host may
    /// already exist. A revoked key stays revoked.
    pub async fn register_source_key(
        self,
        key: &KeyHash,
        start: &str,
        host: &Host,
    ) -> Result<(), ColdError> {
        let key = NewApiKey {
            id: Uuid::now_v7(),
            hash: key.clone(),
            name: SOURCE_KEY_NAME.to_owned(),
            start: start.chars().take(limits::API_KEY_START_CHARS).map(to_printable).collect(),
            hosts: vec![host.clone()],
        };
        self.create(&key).await.map(|_| ())
    }
}

/// Replaces a character with `?` unless it is a visible ASCII character. Other characters could
/// control the terminal that displays the key.
fn to_printable(letter: char) -> char {
    if letter.is_ascii_graphic() { letter } else { '?' }
}

impl From<Vec<Row>> for Revocation {
    fn from(rows: Vec<Row>) -> Self {
        let mut keys: Vec<_> = rows.into_iter().map(StoredApiKey::from).collect();
        match keys.len() {
            0 => Self::NotFound,
            1 => Self::Revoked(Box::new(keys.remove(0))),
            _ => Self::Ambiguous(keys),
        }
    }
}
