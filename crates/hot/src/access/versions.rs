//! The versions of the API keys and the token revocations in Redis.

use crate::{
    access::mirror::{LoadedVersion, read_versions},
    connection::{HotError, HotStore},
};

/// The versions of the API keys and the token revocations in Redis. Every change and every reload
/// results in other versions. `None` means that the rows are not completely loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessVersions {
    /// The version of the API keys.
    pub keys: Option<String>,
    /// The version of the token revocations.
    pub revocations: Option<String>,
}

impl HotStore {
    /// Reads the versions in one round trip, so that a process can invalidate its cache as soon
    /// as they change. O(1).
    pub async fn read_access_versions(&self) -> Result<AccessVersions, HotError> {
        let mirrors = (self.api_keys().mirror(), self.token_revocations().mirror());
        let loaded = read_versions(self, [&mirrors.0, &mirrors.1]).await?;
        // A reload can correct rows although their version in Postgres is unchanged.
        let [keys, revocations] = loaded.map(|loaded| {
            loaded.map(|LoadedVersion { version, token }| format!("{version} {token}"))
        });
        Ok(AccessVersions { keys, revocations })
    }
}
