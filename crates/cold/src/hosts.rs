//! The hosts that have been sampled or assigned to an API key.

use diesel::{
    QueryableByName,
    sql_types::{Integer, Text},
};
use diesel_async::RunQueryDsl;
use mayfly_core::Host;

use crate::store::{ColdError, ColdStore};

/// The maximum number of hosts in a list.
const HOSTS_MAX: i32 = 100_000;

#[derive(QueryableByName)]
struct HostRow {
    #[diesel(sql_type = Text)]
    host: String,
}

/// The handle for hosts.
#[derive(Clone, Copy)]
pub struct Hosts<'a> {
    store: &'a ColdStore,
}

impl ColdStore {
    /// Returns the handle for hosts.
    #[must_use]
    pub fn hosts(&self) -> Hosts<'_> {
        Hosts { store: self }
    }
}

impl Hosts<'_> {
    /// Lists up to 100,000 hosts, oldest first.
    ///
    /// Complexity: O(h) for h listed hosts.
    pub async fn list(self) -> Result<Vec<Host>, ColdError> {
        let rows: Vec<HostRow> = self
            .store
            .call(async |connection| {
                diesel::sql_query("SELECT host FROM hosts ORDER BY id LIMIT $1")
                    .bind::<Integer, _>(HOSTS_MAX)
                    .get_results(connection)
                    .await
            })
            .await?;
        Ok(rows.into_iter().filter_map(|row| Host::parse(row.host).ok()).collect())
    }
}
