//! Keys that the source accepted and that have not been registered in Postgres yet.

use deadpool_redis::redis;
use mayfly_core::{Host, KeyHash};

use crate::{connection::HotError, trends::source::Source};

/// The maximum number of keys that one call returns.
const KEYS_PER_CALL: usize = 100;

/// A key that the source accepted and that has not been registered in Postgres yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnregisteredKey {
    /// The digest of the key.
    pub digest: KeyHash,
    /// The first characters of the key.
    pub start: String,
    /// The host for which the source accepted the key.
    pub host: Host,
}

impl Source<'_> {
    /// Returns some of the unregistered keys. Skips malformed entries. O(n) for n returned keys.
    pub async fn find_unregistered_keys(self) -> Result<Vec<UnregisteredKey>, HotError> {
        let found: Vec<(Vec<u8>, Vec<u8>)> = self
            .store
            .call(async |connection| {
                redis::cmd("HRANDFIELD")
                    .arg(self.store.keys.unregistered_keys())
                    .arg(KEYS_PER_CALL)
                    .arg("WITHVALUES")
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(found.iter().filter_map(|(field, start)| parse_key(field, start)).collect())
    }

    /// Removes a key from the unregistered keys after it has been registered. O(1).
    pub async fn mark_key_registered(self, key: &UnregisteredKey) -> Result<(), HotError> {
        let field = format!("{} {}", key.digest, key.host);
        let mut command = redis::cmd("HDEL");
        command.arg(self.store.keys.unregistered_keys()).arg(field);
        self.store.call(async |connection| command.query_async::<()>(connection).await).await
    }
}

fn parse_key(field: &[u8], start: &[u8]) -> Option<UnregisteredKey> {
    let (field, start) = (str::from_utf8(field).ok()?, str::from_utf8(start).ok()?);
    let (digest, host) = field.split_once(' ')?;
    let host = Host::parse(host).ok()?;
    Some(UnregisteredKey { digest: KeyHash::from_hex(digest)?, start: start.to_owned(), host })
}
