//! API keys as they are stored: by their digest, with the hosts that they open.

use diesel::{
    QueryableByName,
    data_types::PgTimestamp,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mayfly_core::{Host, KeyHash, KnownKey, Timestamp};
use uuid::Uuid;

use crate::{Cold, error::ColdError, messages::from_pg};

/// A key that is to be stored.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What it is called where it must not be shown.
    pub id: Uuid,
    /// Its digest.
    pub hash: KeyHash,
    /// What people call it.
    pub name: String,
    /// Its first characters, for people to know it by.
    pub start: String,
    /// The hosts that it opens.
    pub hosts: Vec<Host>,
}

/// A key as it is stored, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// What is needed to judge it.
    pub known: KnownKey,
    /// What people call it.
    pub name: String,
    /// Its first characters.
    pub start: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// What became of a key that is to be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// It is revoked; perhaps it was before.
    Revoked(Box<ApiKeyRow>),
    /// No key has this id, or begins so.
    Unknown,
    /// Several begin so; none was revoked.
    Several(Vec<ApiKeyRow>),
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

impl From<Row> for ApiKeyRow {
    fn from(row: Row) -> Self {
        Self {
            known: KnownKey {
                hash: KeyHash::from_hex(&row.hash)
                    .expect("invariant: a constraint holds digests to 32 bytes"),
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

/// Its columns, and the hosts that it opens by name.
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

/// Ids are in the order of creation.
const LIST: &str = select_keys!("WHERE id > $1 ORDER BY id LIMIT $2");

/// As many as tell one from several, and those from each other.
const FIND: &str = select_keys!(
    "WHERE id = $1 OR hash = decode($2, 'hex') OR start = $3 \
     ORDER BY revoked_at IS NOT NULL, id LIMIT 20"
);

const CREATE: &str = "SELECT relate_api_key_v1($1, decode($2, 'hex'), $3, $4, $5) AS id";

/// Whoever changes keys holds this row first.
const LOCK: &str = "SELECT FROM api_keys_version FOR UPDATE";

const REVOKE: &str =
    "UPDATE api_keys SET revoked_at = clock_timestamp() WHERE id = $1 AND revoked_at IS NULL";

impl Cold {
    /// Stores a key and has it open its hosts; gives its id. Where its digest is known already, that
    /// key opens these hosts too, unless it is revoked. Refused where there are
    /// [`mayfly_core::limits::API_KEYS_MAX`] keys, or a key would open more hosts than
    /// [`mayfly_core::limits::API_KEY_HOSTS_MAX`].
    pub async fn create_api_key(&self, key: &NewApiKey) -> Result<Uuid, ColdError> {
        let hosts: Vec<&str> = key.hosts.iter().map(Host::as_str).collect();
        self.call(async |connection| {
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

    /// Lists keys in the order in which they were made, behind one of these ids.
    pub async fn list_api_keys(
        &self,
        behind: Uuid,
        limit: u32,
    ) -> Result<Vec<ApiKeyRow>, ColdError> {
        self.call(async |connection| {
            diesel::sql_query(LIST)
                .bind::<SqlUuid, _>(behind)
                .bind::<Integer, _>(i32::try_from(limit).unwrap_or(i32::MAX))
                .get_results::<Row>(connection)
                .await
        })
        .await
        .map(|rows| rows.into_iter().map(ApiKeyRow::from).collect())
    }

    /// Revokes the key with this id, that begins so, or that is this one itself. Twice is once.
    pub async fn revoke_api_key(&self, which: &str) -> Result<Revocation, ColdError> {
        let (id, hash) = (Uuid::parse_str(which).ok(), KeyHash::of(which));
        self.call(async |connection| {
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
        .map(Revocation::of)
    }

    /// The version of all keys: another one after every change of them.
    pub async fn api_keys_version(&self) -> Result<i64, ColdError> {
        self.call(async |connection| {
            diesel::sql_query("SELECT version FROM api_keys_version")
                .get_result::<Version>(connection)
                .await
        })
        .await
        .map(|row| row.version)
    }
}

impl Revocation {
    fn of(found: Vec<Row>) -> Self {
        let mut found: Vec<_> = found.into_iter().map(ApiKeyRow::from).collect();
        match found.len() {
            0 => Self::Unknown,
            1 => Self::Revoked(Box::new(found.remove(0))),
            _ => Self::Several(found),
        }
    }
}
