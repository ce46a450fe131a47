//! The columns of a key.

use diesel::{
    QueryableByName,
    data_types::PgTimestamp,
    sql_types::{Array, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use mayfly_auth::{
    KEY_HOSTS_MAX, Key, KeyId, KeyLimits, Names, PATTERNS_MAX, Pattern, RateText, Scope,
};
use mayfly_core::KeyHash;
use uuid::Uuid;

use super::{PreviousSecret, StoredApiKey};
use crate::store::from_pg;

/// Selects the columns of [`Row`].
macro_rules! select_keys {
    ($rest:literal) => {
        concat!(
            "SELECT id, encode(hash, 'hex') AS hash, public_id, name, start, created_at, \
             revoked_at, array_remove(scopes, NULL) AS scopes, \
             array_remove(channels, NULL) AS channels, \
             array_remove(usernames, NULL) AS usernames, \
             array_remove(api_keys.hosts, NULL) AS host_patterns, \
             ARRAY( \
                 SELECT host FROM api_key_hosts JOIN hosts ON hosts.id = host_id \
                 WHERE api_key_hosts.key_id = api_keys.id ORDER BY host \
             ) AS hosts, \
             rate AS messages_rate, plays_rate, visits_rate, ends_at, requires, \
             coalesce(ends_at <= clock_timestamp(), false) AS is_expired, \
             encode(previous_hash, 'hex') AS previous_hash, previous_ends_at FROM api_keys ",
            $rest
        )
    };
}
pub(super) use select_keys;

#[derive(QueryableByName)]
pub(super) struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    hash: String,
    #[diesel(sql_type = Nullable<Text>)]
    public_id: Option<String>,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    start: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: PgTimestamp,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    revoked_at: Option<PgTimestamp>,
    #[diesel(sql_type = Array<Text>)]
    scopes: Vec<String>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    channels: Option<Vec<String>>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    usernames: Option<Vec<String>>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    host_patterns: Option<Vec<String>>,
    #[diesel(sql_type = Array<Text>)]
    hosts: Vec<String>,
    #[diesel(sql_type = Nullable<Text>)]
    messages_rate: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    plays_rate: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    visits_rate: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ends_at: Option<PgTimestamp>,
    #[diesel(sql_type = Integer)]
    requires: i32,
    #[diesel(sql_type = Bool)]
    is_expired: bool,
    #[diesel(sql_type = Nullable<Text>)]
    previous_hash: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    previous_ends_at: Option<PgTimestamp>,
}

impl From<Row> for StoredApiKey {
    fn from(row: Row) -> Self {
        let hosts = row.host_patterns.map(|patterns| patterns.into_iter().chain(row.hosts));
        let key = Key {
            id: row.id,
            // A scope or a pattern that this version does not know, or that was written by hand and
            // is invalid, grants nothing.
            scopes: row.scopes.iter().filter_map(|name| Scope::parse(name).ok()).collect(),
            channels: to_names(row.channels, PATTERNS_MAX),
            usernames: to_names(row.usernames, PATTERNS_MAX),
            hosts: to_names(hosts, KEY_HOSTS_MAX),
            limits: KeyLimits {
                messages: row.messages_rate.as_deref().map(parse_rate),
                plays: row.plays_rate.as_deref().map(parse_rate),
                visits: row.visits_rate.as_deref().map(parse_rate),
            },
            expires_at: row.ends_at.map(from_pg),
            is_revoked: row.revoked_at.is_some(),
        };
        let previous = row.previous_hash.zip(row.previous_ends_at);
        Self {
            key,
            hash: parse_hash(&row.hash),
            previous: previous.map(|(hash, ends_at)| PreviousSecret {
                hash: parse_hash(&hash),
                expires_at: from_pg(ends_at),
            }),
            key_id: row.public_id.and_then(|id| KeyId::parse(id).ok()),
            name: row.name,
            start: row.start,
            created_at: from_pg(row.created_at),
            revoked_at: row.revoked_at.map(from_pg),
            is_expired: row.is_expired,
            is_supported: row.requires <= Key::FORMAT,
        }
    }
}

fn parse_hash(text: &str) -> KeyHash {
    KeyHash::from_hex(text).expect("invariant: a constraint restricts digests to 32 bytes")
}

fn parse_rate(text: &str) -> RateText {
    RateText::parse(text).expect("invariant: a constraint restricts the form of rates")
}

/// Converts patterns; `None` means all names.
fn to_names(patterns: Option<impl IntoIterator<Item = String>>, max: usize) -> Names {
    let Some(patterns) = patterns else { return Names::All };
    let valid = patterns.into_iter().filter_map(|pattern| Pattern::parse(pattern).ok());
    valid.take(max).collect::<Vec<_>>().into()
}
