//! Creates API keys.

use std::time::Duration;

use diesel::{
    QueryableByName,
    result::{Error as DieselError, QueryResult},
    sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mayfly_auth::{KeyId, KeyLimits, Names, Pattern, RateText, Scope, Scopes};
use mayfly_core::{Host, KeyHash, limits};
use uuid::Uuid;

use super::{ApiKeys, StoredApiKey, find::find_by_id};
use crate::store::{ColdError, to_millis};

/// The name of keys registered by [`ApiKeys::register_source_key`].
const SOURCE_KEY_NAME: &str = "accepted by the source";

/// Creates a key with the defaults of the columns as its rights: the key reads the pages of its
/// hosts.
const RELATE: &str = "SELECT relate_api_key_v1($1, decode($2, 'hex'), $3, $4, $5)";

const SET_RIGHTS: &str = "UPDATE api_keys SET public_id = $2, scopes = $3, channels = $4, \
         usernames = $5, hosts = $6, rate = $7, plays_rate = $8, visits_rate = $9, \
         ends_at = clock_timestamp() + make_interval(secs => $10 / 1000.0) \
     WHERE id = $1";

const HAS_OTHERS: &str = "SELECT EXISTS (SELECT FROM api_keys WHERE id <> $1) AS has_others";

/// An API key to store.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// The ID. Unlike the key itself, the ID is not secret.
    pub id: Uuid,
    /// The public part of the key.
    pub key_id: KeyId,
    /// The digest of the key.
    pub hash: KeyHash,
    /// The display name.
    pub name: String,
    /// The scopes.
    pub scopes: Scopes,
    /// The channels that the key grants access to.
    pub channels: Names,
    /// The usernames that the key grants access to.
    pub usernames: Names,
    /// The hosts that the key grants access to.
    pub hosts: Names,
    /// The rate limits.
    pub limits: KeyLimits,
    /// The time after which the key expires; `None` if it does not expire.
    pub lifetime: Option<Duration>,
}

impl ApiKeys<'_> {
    /// Stores a new key and returns it. The call is rejected if [`limits::API_KEYS_MAX`] keys
    /// already exist, or if the key would have more than [`limits::API_KEY_HOSTS_MAX`] hosts.
    ///
    /// Complexity: O(h log n + k) for h given hosts, n hosts in total, and k keys.
    pub async fn create(self, key: &NewApiKey) -> Result<StoredApiKey, ColdError> {
        self.store
            .call(async |connection| {
                connection.transaction(async |connection| insert(connection, key).await).await
            })
            .await
    }

    /// Does the same as [`Self::create`] if no key exists, not even a revoked one. Otherwise,
    /// stores nothing and returns `None`. Of concurrent calls, one stores its key.
    ///
    /// Complexity: O(h log n) for h given hosts and n hosts in total.
    pub async fn create_first(self, key: &NewApiKey) -> Result<Option<StoredApiKey>, ColdError> {
        self.store
            .call(async |connection| {
                let stored = connection
                    .transaction(async |connection| insert_first(connection, key).await)
                    .await;
                match stored {
                    Ok(stored) => Ok(Some(stored)),
                    Err(DieselError::RollbackTransaction) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .await
    }

    /// Registers a key that the visitor source accepted for a host. The key and the host may
    /// already exist. A revoked key stays revoked. The call is rejected if the key is new and
    /// [`limits::API_KEYS_MAX`] keys already exist, or if the key would have more than
    /// [`limits::API_KEY_HOSTS_MAX`] hosts.
    ///
    /// Complexity: O(log n) for n hosts in total, plus O(k) for k keys if the key is new.
    pub async fn register_source_key(
        self,
        key: &KeyHash,
        start: &str,
        host: &Host,
    ) -> Result<(), ColdError> {
        let start: String =
            start.chars().take(limits::API_KEY_START_CHARS).map(to_printable).collect();
        let hosts = [host.as_str()];
        self.store
            .call(async |connection| {
                relate(connection, Uuid::now_v7(), key, SOURCE_KEY_NAME, &start, &hosts).await
            })
            .await
    }
}

/// Stores a new key and returns it. Must run in a transaction.
async fn insert(connection: &mut AsyncPgConnection, key: &NewApiKey) -> QueryResult<StoredApiKey> {
    let start = key_start(&key.key_id);
    let (hosts, patterns) = split_hosts(&key.hosts);
    let hosts: Vec<_> = hosts.iter().map(Host::as_str).collect();
    let scopes: Vec<_> = key.scopes.iter().map(Scope::as_str).collect();
    let rate = |rate: Option<RateText>| rate.map(|rate| rate.to_string());
    relate(connection, key.id, &key.hash, &key.name, &start, &hosts).await?;
    diesel::sql_query(SET_RIGHTS)
        .bind::<SqlUuid, _>(key.id)
        .bind::<Text, _>(key.key_id.as_str())
        .bind::<Array<Text>, _>(&scopes)
        .bind::<Nullable<Array<Text>>, _>(to_texts(&key.channels))
        .bind::<Nullable<Array<Text>>, _>(to_texts(&key.usernames))
        .bind::<Nullable<Array<Text>>, _>(&patterns)
        .bind::<Nullable<Text>, _>(rate(key.limits.messages))
        .bind::<Nullable<Text>, _>(rate(key.limits.plays))
        .bind::<Nullable<Text>, _>(rate(key.limits.visits))
        .bind::<Nullable<BigInt>, _>(key.lifetime.map(to_millis))
        .execute(connection)
        .await?;
    find_by_id(connection, key.id).await
}

/// Does the same if no other key exists. Otherwise, the error rolls back the transaction.
async fn insert_first(
    connection: &mut AsyncPgConnection,
    key: &NewApiKey,
) -> QueryResult<StoredApiKey> {
    if has_others(connection, key.id).await? {
        return Err(DieselError::RollbackTransaction);
    }
    let stored = insert(connection, key).await?;
    // The transaction holds the lock on the row of api_keys_version from here on, so no other
    // transaction changes keys. One may have been committed before.
    if has_others(connection, key.id).await? {
        return Err(DieselError::RollbackTransaction);
    }
    Ok(stored)
}

/// Returns whether any key except this one exists.
async fn has_others(connection: &mut AsyncPgConnection, id: Uuid) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        has_others: bool,
    }
    let row = diesel::sql_query(HAS_OTHERS).bind::<SqlUuid, _>(id).get_result::<Row>(connection);
    row.await.map(|row| row.has_others)
}

/// Creates a key with the default rights if the digest does not exist, and adds hosts to the key
/// unless it has been revoked.
async fn relate(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    hash: &KeyHash,
    name: &str,
    start: &str,
    hosts: &[&str],
) -> QueryResult<()> {
    diesel::sql_query(RELATE)
        .bind::<SqlUuid, _>(id)
        .bind::<Text, _>(hash.as_str())
        .bind::<Text, _>(name)
        .bind::<Text, _>(start)
        .bind::<Array<Text>, _>(hosts)
        .execute(connection)
        .await
        .map(|_| ())
}

/// Returns the characters by which the owner recognizes a key: all but the secret.
pub(super) fn key_start(key_id: &KeyId) -> String {
    format!("mf_{key_id}")
}

/// Splits the hosts of a key into names, which become known hosts, and patterns. The patterns are
/// `None` if the key grants access to all hosts.
fn split_hosts(hosts: &Names) -> (Vec<Host>, Option<Vec<&str>>) {
    let mut names = Vec::new();
    let patterns = hosts.patterns().map(|all| {
        let mut patterns = Vec::new();
        for pattern in all.iter().map(Pattern::as_str) {
            match Host::parse(pattern) {
                Ok(host) => names.push(host),
                Err(_) => patterns.push(pattern),
            }
        }
        patterns
    });
    (names, patterns)
}

fn to_texts(names: &Names) -> Option<Vec<&str>> {
    names.patterns().map(|patterns| patterns.iter().map(Pattern::as_str).collect())
}

/// Replaces a character with `?` unless it is a visible ASCII character. Other characters could
/// control the terminal that displays the key.
fn to_printable(letter: char) -> char {
    if letter.is_ascii_graphic() { letter } else { '?' }
}
