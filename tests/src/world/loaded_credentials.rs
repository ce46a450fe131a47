//! The keys and token revocations in Redis.

use mayfly_core::KeyHash;
use mayfly_hot::{ApiKeyState, HotStore, RevocableToken, RevocationState};
use mayfly_runtime::settings::Settings;

use super::World;
use crate::{DEFAULT_TIMEOUT, eventually};

impl World {
    /// Returns the hot store of a stack, or of another installation in the same Redis.
    ///
    /// # Panics
    /// If the prefix is not valid.
    #[must_use]
    pub fn hot_store(&self, prefix: &str) -> HotStore {
        let env = self.stack.env();
        let own = [("MAYFLY_REDIS__URL", env.redis_url()), ("MAYFLY_REDIS__PREFIX", prefix)];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings::from_layers(None, own.into_iter()).expect("valid settings");
        HotStore::new(&settings.redis).expect("a valid URL")
    }

    /// Waits until a persist-worker has copied the keys and token revocations from Postgres to
    /// Redis. Until then, requests with credentials receive 503.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn wait_until_credentials_are_loaded(&self) {
        let hot = self.hot_store(&self.prefix);
        let unknown = KeyHash::from_key("unknown");
        let token = RevocableToken { id: None, subject: "unknown", issued_at_s: None };
        eventually(DEFAULT_TIMEOUT, "the keys and revocations are loaded", async || {
            let key = hot.api_keys().find(&unknown).await;
            let revocations = hot.token_revocations().find(&[token]).await;
            match (&key, revocations.as_deref()) {
                (Ok(ApiKeyState::Unknown), Ok([RevocationState::Valid])) => Ok(()),
                _ => Err(format!("{key:?}, {revocations:?}")),
            }
        })
        .await;
    }
}
