//! The health check for Postgres, which tests whether the service can use the server.

use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use mayfly_runtime::Component;
use tracing::warn;

use super::{ColdAccess, ColdError, ColdStore, metrics as names, requirements::Server};

/// How long the component stays down after a statement has failed for lack of a resource. Workers
/// retry the statement at shorter intervals, so the component stays down while the failure
/// persists.
const EXHAUSTED_FOR: Duration = Duration::from_secs(3);

impl ColdStore {
    /// Checks once a second whether Postgres meets the requirements for `access`, and reports the
    /// result to `component` and a gauge. Never completes.
    pub async fn watch(self, component: Component, access: ColdAccess) {
        component.watch(names::POSTGRES_UP, async move || self.check_access(access).await).await;
    }

    /// Checks that Postgres meets the requirements for `access`, and that no statement has recently
    /// failed for lack of a resource. The error describes why the check failed. Logs one warning if
    /// Postgres can lose confirmed commits.
    pub async fn check_access(&self, access: ColdAccess) -> Result<(), String> {
        let server = self.call(async |connection| {
            let server = Server::read(connection, access).await?;
            if access.is_writing() && server.is_read_only() {
                // This error discards the session and the idle sessions, which would otherwise stay
                // read-only even after Postgres has become writable.
                return Err(DieselError::DatabaseError(
                    DatabaseErrorKind::ReadOnlyTransaction,
                    Box::new(server.find_unmet_requirement().unwrap_or_default()),
                ));
            }
            Ok(server)
        });
        match server.await {
            Ok(server) => {
                self.warn_about_settings(&server);
                server.find_unmet_requirement().map_or(Ok(()), Err)?;
            }
            Err(ColdError::Unavailable(cause)) => return Err(cause.to_string()),
            Err(error) => return Err(error.to_string()),
        }
        let exhausted = self.exhausted.lock();
        match exhausted.as_ref().filter(|(at, _)| at.elapsed() < EXHAUSTED_FOR) {
            Some((_, cause)) => Err(cause.clone()),
            None => Ok(()),
        }
    }

    fn warn_about_settings(&self, server: &Server) {
        if let Some(settings) = server.find_unsafe_settings() {
            self.settings_warning.call_once(|| {
                warn!(
                    component = "postgres",
                    settings,
                    "settings of Postgres are off: if the server crashes, it can lose changes that \
                     it has confirmed, such as stored messages; turn the settings on"
                );
            });
        }
    }
}
