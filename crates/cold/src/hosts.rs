//! Hosts, and the API keys that open them.

use diesel::{
    QueryableByName,
    sql_types::{Integer, Text},
};
use diesel_async::RunQueryDsl;
use mayfly_core::{Host, KeyHash, limits};
use uuid::Uuid;

use crate::{Cold, api_keys::NewApiKey, error::ColdError};

/// Hosts of one list.
const HOSTS_MAX: i32 = 100_000;

/// What a key is called that was not made here.
const SOURCE_KEY_NAME: &str = "accepted by the source";

#[derive(QueryableByName)]
struct HostRow {
    #[diesel(sql_type = Text)]
    host: String,
}

impl Cold {
    /// Every known host; at most 100,000, those that were known first.
    pub async fn list_hosts(&self) -> Result<Vec<Host>, ColdError> {
        let rows: Vec<HostRow> = self
            .call(async |connection| {
                diesel::sql_query("SELECT host FROM hosts ORDER BY id LIMIT $1")
                    .bind::<Integer, _>(HOSTS_MAX)
                    .get_results(connection)
                    .await
            })
            .await?;
        Ok(rows.into_iter().filter_map(|row| Host::parse(row.host).ok()).collect())
    }

    /// Stores a key that the source accepted for a host, and relates the two; both may be there. A
    /// key that was revoked stays revoked.
    pub async fn relate_source_key(
        &self,
        key: &KeyHash,
        start: &str,
        host: &Host,
    ) -> Result<(), ColdError> {
        let key = NewApiKey {
            id: Uuid::now_v7(),
            hash: key.clone(),
            name: SOURCE_KEY_NAME.to_owned(),
            start: start.chars().take(limits::API_KEY_START_CHARS).map(printable).collect(),
            hosts: vec![host.clone()],
        };
        self.create_api_key(&key).await.map(|_| ())
    }
}

/// Whoever sent the key chose its characters, and people look at them in a terminal.
fn printable(letter: char) -> char {
    if letter.is_ascii_graphic() { letter } else { '?' }
}
