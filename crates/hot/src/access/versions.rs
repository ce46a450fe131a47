//! The versions of the API keys and the token revocations in Redis.

use deadpool_redis::redis;

use crate::connection::{HotError, HotStore};

/// The versions of the API keys and the token revocations in Redis. Every change results in other
/// versions. `None` means that the rows are not completely loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessVersions {
    /// The version of the API keys.
    pub keys: Option<String>,
    /// The version of the token revocations.
    pub revocations: Option<String>,
}

impl HotStore {
    /// Reads the versions in one round trip, so that a process can discard what it has cached as
    /// soon as they change. O(1).
    pub async fn read_access_versions(&self) -> Result<AccessVersions, HotError> {
        let keys = &self.keys;
        let mut command = redis::cmd("MGET");
        command.arg(keys.api_keys_version()).arg(keys.api_keys_format());
        command.arg(keys.token_revocations_version()).arg(keys.token_revocations_format());
        let [keys, keys_format, revocations, revocations_format]: [Option<String>; 4] =
            self.call(async |connection| command.query_async(connection).await).await?;
        Ok(AccessVersions {
            keys: join(keys, keys_format),
            revocations: join(revocations, revocations_format),
        })
    }
}

/// Joins a version with its format, because a process of the previous version of Mayfly reloads the
/// keys in another format.
fn join(version: Option<String>, format: Option<String>) -> Option<String> {
    version.map(|version| format!("{version} {}", format.unwrap_or_default()))
}
