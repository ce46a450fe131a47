//! Authentication of callers.

mod failures;
mod keys;
mod outages;
mod tokens;

use std::{io::Write, sync::Arc};

use mayfly_auth::{Credentials, Identity, Key};
use mayfly_authenticator::{AuthError, Authenticator, Rejection};
use mayfly_core::{KeyHash, TokenRevocation};
use mayfly_runtime::{Health, Lifecycle};
use mayfly_tests::{DEFAULT_TIMEOUT, load_credentials};
use tempfile::NamedTempFile;

use super::api_key;
use crate::TestStore;

/// The secret that signs the tokens of these tests.
const SECRET: &str = "a secret of at least thirty-two bytes";
/// The address of the caller.
const CLIENT: &str = "192.0.2.1";

const UNKNOWN: AuthError = AuthError::Invalid(Rejection::Unknown);
const EXPIRED: AuthError = AuthError::Invalid(Rejection::Expired);
const REVOKED: AuthError = AuthError::Invalid(Rejection::Revoked);

/// A store for authenticators that accept tokens signed with [`SECRET`].
struct AuthTest {
    store: TestStore,
    _secret_file: NamedTempFile,
}

impl AuthTest {
    /// Creates a store without keys, with additional settings.
    async fn create(env: &[(&str, &str)]) -> Self {
        let mut file = NamedTempFile::new().expect("a temporary file");
        writeln!(file, "{SECRET}").expect("the secret is written");
        let path = file.path().display().to_string();
        let secret = ("MAYFLY_AUTH__SECRET_FILE", path.as_str());
        let store = TestStore::create_with(&[&[secret], env].concat()).await;
        Self { store, _secret_file: file }
    }

    /// Loads all keys and revocations.
    async fn load(&self, keys: &[(KeyHash, Key)], revocations: &[TokenRevocation]) {
        load_credentials(&self.store.hot, keys, revocations).await;
    }

    /// Starts an authenticator, and waits until it has read the versions.
    async fn start(&self) -> Arc<Authenticator> {
        let health = Health::new(Lifecycle::new(DEFAULT_TIMEOUT));
        let authenticator = Authenticator::start(&self.store.hot, &self.store.settings, &health);
        next_change(&authenticator).await;
        authenticator
    }

    async fn put(&self, (hash, key): (KeyHash, Key)) {
        self.store.hot.api_keys().put(&[(hash, Some(key))], &[]).await.expect("Redis responds");
    }

    async fn revoke_tokens(&self, revocation: &TokenRevocation) {
        self.store.hot.token_revocations().put(revocation).await.expect("Redis responds");
    }
}

/// Waits until the authenticator has noticed a change of keys or revocations. The first reading of
/// the versions is a change. Changes before the call of this function do not count.
fn next_change(authenticator: &Authenticator) -> impl Future<Output = ()> {
    let mut changes = authenticator.changes();
    async move {
        let outcome = tokio::time::timeout(DEFAULT_TIMEOUT, changes.changed()).await;
        outcome.expect("the change is noticed").expect("the authenticator exists");
    }
}

/// Authenticates a caller by a key.
async fn authenticate_key(authenticator: &Authenticator, key: &str) -> Result<Arc<Key>, AuthError> {
    match authenticator.authenticate(Some(&Credentials::Key(key)), CLIENT).await? {
        Identity::Key(key) => Ok(key),
        other => panic!("{other:?}"),
    }
}

/// Returns a key that reads the pages of `a.org`, with its digest.
fn key(text: &str) -> (KeyHash, Key) {
    api_key(text, &["a.org"])
}
