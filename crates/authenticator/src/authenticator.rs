//! The authenticator of a process.

use std::{fmt::Display, sync::Arc, time::Duration};

use mayfly_auth::{Credentials, Identity, Key, Scope, Scopes, Token, TokenError};
use mayfly_core::{Clock, KeyHash, StoreError, Timestamp};
use mayfly_hot::{ApiKeyState, HotError, HotStore, RevocableToken, RevocationState};
use mayfly_runtime::{Health, OutageLog, Settings, exit_on_panic, settings::AuthMode};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::{
    AuthError, Generation, Rejection,
    cache::{Cache, Digest, Entry},
    failures::FailureLimiter,
    metrics::{self as names, Counters},
    token_keys::TokenKeys,
    versions::{Versions, poll_versions},
};

/// The authenticator of a process. It determines the identity of a caller; [`Identity::allows`]
/// decides which actions the caller may perform.
pub struct Authenticator {
    mode: AuthMode,
    /// The identity of callers without credentials; `None` if they have no rights.
    anonymous: Option<Identity>,
    /// A handle to the hot store with its own connections, so that requests with valid credentials
    /// do not wait for the other calls of the process.
    hot: HotStore,
    cache: Arc<Cache>,
    versions: Arc<Versions>,
    token_keys: Arc<TokenKeys>,
    failures: FailureLimiter,
    /// The permits to look up credentials in Redis. While requests with the same credentials wait
    /// for a permit, the first of them fills the cache.
    lookups: Semaphore,
    /// The maximum time that a request waits for a permit.
    lookup_wait: Duration,
    counters: Counters,
    /// The log of replies that have an unexpected format. The health check logs outages of Redis.
    rejected_lookups: OutageLog,
    /// The background tasks, which end with the authenticator.
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Authenticator {
    /// Creates the authenticator of a process, and starts its background tasks on the current
    /// runtime. The tasks end when the authenticator is dropped. If public keys of tokens are
    /// configured, registers the health component `jwks`.
    #[must_use]
    pub fn start(hot: &HotStore, settings: &Settings, health: &Health) -> Arc<Self> {
        let authenticator = Self::new(hot.with_dedicated_connections(), settings, Some(health));
        let Self { cache, versions, token_keys, .. } = &authenticator;
        let cache = Arc::clone(cache);
        let report_size = move || {
            let entries = u32::try_from(cache.len()).unwrap_or(u32::MAX);
            metrics::gauge!(names::AUTH_CACHE_ENTRIES).set(f64::from(entries));
        };
        // With a connection of its own, no number of failed authentications delays the readings.
        let hot = hot.with_dedicated_connections();
        let polling = poll_versions(Arc::clone(versions), hot, report_size);
        let refreshing = Arc::clone(token_keys).refresh_periodically(Arc::clone(versions));
        let tasks = [
            tokio::spawn(exit_on_panic("poll the versions of keys", polling)),
            tokio::spawn(exit_on_panic("refresh public keys", refreshing)),
        ];
        let tasks = tasks.map(AbortOnDropHandle::new).into();
        Arc::new(Self { _tasks: tasks, ..authenticator })
    }

    /// Creates an authenticator in the mode `open` without background tasks and without Redis, for
    /// tests.
    ///
    /// # Panics
    /// Never, because the settings are valid.
    #[must_use]
    pub fn open() -> Arc<Self> {
        let env = [("MAYFLY_AUTH__MODE", "open"), ("MAYFLY_REDIS__URL", "redis://127.0.0.1:9")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings::from_layers(None, env.into_iter());
        let settings = settings.expect("invariant: the settings are valid");
        let hot = HotStore::new(&settings.redis).expect("invariant: the URL is valid");
        Arc::new(Self::new(hot, &settings, None))
    }

    fn new(hot: HotStore, settings: &Settings, health: Option<&Health>) -> Self {
        let (auth, auth_failures) = (&settings.auth, settings.limits.auth_failures);
        // In the mode `open`, no token is verified.
        let health = health.filter(|_| auth.mode == AuthMode::Keys);
        let scopes: Scopes =
            auth.anonymous.iter().filter_map(|name| Scope::parse(name).ok()).collect();
        Self {
            mode: auth.mode,
            anonymous: (!scopes.is_empty()).then_some(Identity::Anonymous(scopes)),
            cache: Arc::new(Cache::new()),
            versions: Arc::new(Versions::new()),
            token_keys: Arc::new(TokenKeys::new(auth, health)),
            failures: FailureLimiter::new(hot.with_dedicated_connections(), auth_failures),
            lookups: Semaphore::new(settings.redis.pool_size_max / 2),
            lookup_wait: settings.redis.queue_timeout.min(settings.redis.timeout / 2),
            counters: Counters::register(),
            rejected_lookups: OutageLog::new("look up credentials in Redis"),
            _tasks: Vec::new(),
            hot,
        }
    }

    /// Returns whether the mode is `open`: every caller has all rights, and credentials are not
    /// checked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.mode == AuthMode::Open
    }

    /// Returns a receiver that is notified whenever keys or revocations have changed. The change is
    /// already visible to [`Self::authenticate`] and [`Self::recheck`] then.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Generation> {
        self.versions.changes()
    }

    /// Returns the result of [`Self::authenticate`] if it is known without waiting: if the mode is
    /// `open`, there are no credentials, or the credentials are in the cache.
    #[must_use]
    pub fn cached(
        &self,
        credentials: Option<&Credentials<'_>>,
    ) -> Option<Result<Identity, AuthError>> {
        let result = match (self.mode, credentials) {
            (AuthMode::Open, _) => return Some(Ok(Identity::Open)),
            (AuthMode::Keys, None) => self.anonymous.clone().ok_or(AuthError::Missing),
            (AuthMode::Keys, Some(credentials)) => {
                Ok(self.find_cached(&compute_digest(credentials.text()))?)
            }
        };
        self.counters.record(&result);
        Some(result)
    }

    /// Authenticates a caller. `client` is the address of the caller, for the limit on failed
    /// authentications: an IPv4 address, or the /64 network of an IPv6 address.
    ///
    /// While the client has exceeded its limit, only credentials that the process has accepted
    /// before are checked. An expired token does not count as a failure, because all browsers
    /// behind one address may send expired tokens when they wake up, and because its signature
    /// proves that the token was not guessed.
    ///
    /// # Errors
    /// The reason why the caller is not authenticated.
    pub async fn authenticate(
        &self,
        credentials: Option<&Credentials<'_>>,
        client: &(impl Display + ?Sized),
    ) -> Result<Identity, AuthError> {
        if let Some(result) = self.cached(credentials) {
            return result;
        }
        let Some(credentials) = credentials else { return Err(AuthError::Missing) };
        // Boxed, because every request contains this future and rarely needs it.
        let result = Box::pin(self.check(credentials, client)).await;
        self.counters.record(&result);
        result
    }

    /// Authenticates a caller by an API key, also in the mode `open`. An unknown key is not counted
    /// as a failed authentication: call [`Self::count_failure`] when the caller is rejected.
    ///
    /// # Errors
    /// The reason why the caller is not authenticated.
    pub async fn authenticate_key(
        &self,
        key: &str,
        client: &(impl Display + ?Sized),
    ) -> Result<Arc<Key>, AuthError> {
        let digest = compute_digest(key);
        if let Some(Identity::Key(key)) = self.find_cached(&digest) {
            return Ok(key);
        }
        self.check_limit(&digest, client).await?;
        self.find_key(&KeyHash::from_key(key)).await
    }

    /// Counts a failed authentication of a client, and returns the error for the client.
    pub async fn count_failure(&self, client: &(impl Display + ?Sized)) -> AuthError {
        let limited = match self.failures.check(client).await {
            Ok(()) => self.failures.count(client).await,
            limited => limited,
        };
        let error = limited.err().unwrap_or(AuthError::Invalid(Rejection::Unknown));
        self.counters.record(&Err::<(), _>(error));
        error
    }

    /// Checks again whether an open connection may stay open. `digest` is the digest of the
    /// credentials with which `identity` was authenticated. Returns the current identity: the
    /// rights of a key may have changed.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] if the credentials are no longer valid. After any other error, it is
    /// not known whether they are.
    pub async fn recheck(
        &self,
        digest: &KeyHash,
        identity: &Identity,
    ) -> Result<Identity, AuthError> {
        match identity {
            Identity::Open | Identity::Anonymous(_) => Ok(identity.clone()),
            Identity::Key(_) => match self.find_cached(&to_digest(digest)) {
                Some(current) => Ok(current),
                None => self.find_key(digest).await.map(Identity::Key),
            },
            Identity::Token(_) if self.has_expired(identity) => {
                Err(AuthError::Invalid(Rejection::Expired))
            }
            Identity::Token(token) => {
                let is_current = self.find_cached(&to_digest(digest)).is_some();
                if !is_current {
                    self.check_revocation(token).await?;
                }
                Ok(identity.clone())
            }
        }
    }

    /// Does the same as [`Self::recheck`] for several credentials, and returns the results in the
    /// same order. Redis is called once for all tokens.
    pub async fn recheck_all(
        &self,
        credentials: &[(&KeyHash, &Identity)],
    ) -> Vec<Result<Identity, AuthError>> {
        let (mut results, mut tokens) = (Vec::new(), Vec::new());
        for (digest, identity) in credentials {
            let result = match identity {
                Identity::Token(token) if !self.has_expired(identity) => {
                    tokens.push((results.len(), &**token));
                    Ok((*identity).clone())
                }
                _ => self.recheck(digest, identity).await,
            };
            results.push(result);
        }
        let (indexes, tokens): (Vec<usize>, Vec<&Token>) = tokens.into_iter().unzip();
        let checked = self.check_revocations(&tokens).await;
        for (number, index) in indexes.into_iter().enumerate() {
            if let Err(error) = checked.as_ref().map_err(|error| *error).and_then(|all| all[number])
            {
                results[index] = Err(error);
            }
        }
        results
    }

    /// Authenticates a caller whose credentials are not in the cache.
    async fn check(
        &self,
        credentials: &Credentials<'_>,
        client: &(impl Display + ?Sized),
    ) -> Result<Identity, AuthError> {
        let digest = compute_digest(credentials.text());
        self.check_limit(&digest, client).await?;
        let result = match credentials {
            Credentials::Key(_) => self.find_key(&credentials.digest()).await.map(Identity::Key),
            Credentials::Token(token) => self.evict_rejected(&digest, self.find_token(token).await),
        };
        let is_counted = match &result {
            Err(AuthError::Invalid(Rejection::Expired)) => {
                matches!(credentials, Credentials::Key(_))
            }
            Err(AuthError::Invalid(_)) => true,
            _ => false,
        };
        if is_counted {
            self.failures.count(client).await?;
        }
        result
    }

    /// Returns an error if the client has exceeded its limit, unless the credentials are known: the
    /// process has accepted them before and not rejected them since, so they are not guesses. They
    /// are checked again, because the keys or revocations have changed, or Redis did not return
    /// their versions.
    async fn check_limit(
        &self,
        digest: &Digest,
        client: &(impl Display + ?Sized),
    ) -> Result<(), AuthError> {
        if self.cache.contains(digest) { Ok(()) } else { self.failures.check(client).await }
    }

    /// Removes credentials that were rejected from the cache, so that they are no longer known.
    fn evict_rejected<T>(
        &self,
        digest: &Digest,
        result: Result<T, AuthError>,
    ) -> Result<T, AuthError> {
        if let Err(AuthError::Invalid(_)) = result {
            self.cache.remove(digest);
        }
        result
    }

    /// Looks up a key in the cache and in Redis.
    async fn find_key(&self, hash: &KeyHash) -> Result<Arc<Key>, AuthError> {
        let digest = to_digest(hash);
        let _permit = self.acquire_lookup().await?;
        if let Some(Identity::Key(key)) = self.find_cached(&digest) {
            return Ok(key);
        }
        self.evict_rejected(&digest, self.look_up_key(hash, digest).await)
    }

    async fn look_up_key(&self, hash: &KeyHash, digest: Digest) -> Result<Arc<Key>, AuthError> {
        // If the keys change from now on, the entry belongs to an older generation.
        let generation = self.versions.keys();
        let found = self.hot.api_keys().find(hash).await;
        let key = match found.map_err(|error| self.fail_lookup(&error))? {
            ApiKeyState::NotLoaded => return Err(AuthError::NotLoaded),
            ApiKeyState::Unknown => return Err(AuthError::Invalid(Rejection::Unknown)),
            ApiKeyState::Found(key) => Arc::new(key),
        };
        if key.is_revoked {
            return Err(AuthError::Invalid(Rejection::Revoked));
        }
        let identity = Identity::Key(Arc::clone(&key));
        if self.has_expired(&identity) {
            return Err(AuthError::Invalid(Rejection::Expired));
        }
        self.cache.insert(digest, Entry { identity, generation });
        Ok(key)
    }

    /// Verifies a token, and checks whether it has been revoked. A text that is not a token may be
    /// a key that the visitor source accepted, which can have any form.
    async fn find_token(&self, text: &str) -> Result<Identity, AuthError> {
        // If revocations or public keys change from now on, the entry belongs to an older
        // generation.
        let generation = self.versions.tokens();
        let now_s = self.now().as_millis().div_euclid(1_000);
        let token = match self.token_keys.verify(text, now_s).await {
            Ok(token) => Arc::new(token),
            Err(None) => return Err(AuthError::Unavailable),
            Err(Some(TokenError::Malformed)) => {
                return self.find_key(&KeyHash::from_key(text)).await.map(Identity::Key);
            }
            Err(Some(error)) => {
                debug!(%error, "rejected a token");
                let is_expired = error == TokenError::Expired;
                let rejection = if is_expired { Rejection::Expired } else { Rejection::Unknown };
                return Err(AuthError::Invalid(rejection));
            }
        };
        self.check_revocation(&token).await?;
        let identity = Identity::Token(token);
        let entry = Entry { identity: identity.clone(), generation };
        self.cache.insert(compute_digest(text), entry);
        Ok(identity)
    }

    async fn check_revocation(&self, token: &Token) -> Result<(), AuthError> {
        self.check_revocations(&[token]).await?.pop().unwrap_or(Err(AuthError::Unavailable))
    }

    /// Checks whether each of the tokens has been revoked, with one call to Redis.
    async fn check_revocations(
        &self,
        tokens: &[&Token],
    ) -> Result<Vec<Result<(), AuthError>>, AuthError> {
        let _permit = self.acquire_lookup().await?;
        let tokens = tokens.iter().map(|token| RevocableToken {
            id: token.id.as_deref(),
            subject: token.subject.as_str(),
            issued_at_s: token.issued_at,
        });
        let tokens: Vec<_> = tokens.collect();
        let found = self.hot.token_revocations().find(&tokens).await;
        let found = found.map_err(|error| self.fail_lookup(&error))?;
        let outcomes = found.into_iter().map(|state| match state {
            RevocationState::NotLoaded => Err(AuthError::NotLoaded),
            RevocationState::Revoked => Err(AuthError::Invalid(Rejection::Revoked)),
            RevocationState::Valid => Ok(()),
        });
        Ok(outcomes.collect())
    }

    /// Returns the identity of cached credentials, unless the entry may be outdated.
    fn find_cached(&self, digest: &Digest) -> Option<Identity> {
        if !self.versions.is_trusted() {
            return None;
        }
        let Entry { identity, generation } = self.cache.find(digest)?;
        let current = match &identity {
            Identity::Open | Identity::Anonymous(_) => return None,
            Identity::Key(_) => self.versions.keys(),
            Identity::Token(_) => self.versions.tokens(),
        };
        (generation == current && !self.has_expired(&identity)).then_some(identity)
    }

    fn has_expired(&self, identity: &Identity) -> bool {
        identity.ends_at().is_some_and(|ends_at| ends_at <= self.now())
    }

    /// Returns the current time of the Redis clock.
    fn now(&self) -> Timestamp {
        self.hot.clock().now()
    }

    async fn acquire_lookup(&self) -> Result<SemaphorePermit<'_>, AuthError> {
        if let Ok(permit) = self.lookups.try_acquire() {
            return Ok(permit);
        }
        match timeout(self.lookup_wait, self.lookups.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(AuthError::Unavailable),
        }
    }

    /// Returns the error for a caller whose credentials cannot be looked up.
    fn fail_lookup(&self, error: &HotError) -> AuthError {
        if error.is_rejection() {
            self.rejected_lookups.record_failure(error);
        } else {
            debug!(%error, "cannot look up credentials");
        }
        AuthError::Unavailable
    }
}

/// Computes the digest of credentials.
fn compute_digest(credentials: &str) -> Digest {
    Sha256::digest(credentials).into()
}

/// Converts a digest from its hexadecimal form.
fn to_digest(hash: &KeyHash) -> Digest {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    };
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(hash.as_str().as_bytes().chunks_exact(2)) {
        *byte = (value(pair[0]) << 4) | value(pair[1]);
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_round_trips_through_hex() {
        for credentials in ["", "mf_x", "a.b.c"] {
            assert_eq!(to_digest(&KeyHash::from_key(credentials)), compute_digest(credentials));
        }
    }

    #[test]
    fn every_scope_can_be_configured_for_callers_without_credentials() {
        for scope in Scope::ALL {
            let env = [("MAYFLY_AUTH__ANONYMOUS".to_owned(), scope.as_str().to_owned())];
            let settings = Settings::from_layers(None, env.into_iter()).expect("a scope");
            let hot = HotStore::new(&settings.redis).expect("a valid URL");
            let authenticator = Authenticator::new(hot, &settings, None);
            let identity = authenticator.cached(None).expect("known without waiting");
            let Ok(Identity::Anonymous(scopes)) = identity else { panic!("{identity:?}") };
            assert_eq!(scopes, Scopes::from_iter([scope]));
        }
    }

    #[test]
    fn caller_without_credentials_is_rejected_by_default() {
        let settings = Settings::from_layers(None, std::iter::empty()).expect("the defaults");
        let hot = HotStore::new(&settings.redis).expect("a valid URL");
        let authenticator = Authenticator::new(hot, &settings, None);
        assert!(!authenticator.is_open());
        let result = authenticator.cached(None).expect("known without waiting");
        assert_eq!(result.err(), Some(AuthError::Missing));
        assert!(authenticator.cached(Some(&Credentials::Key("mf_x"))).is_none());
    }

    #[test]
    fn mode_open_checks_no_credentials() {
        let authenticator = Authenticator::open();
        assert!(authenticator.is_open());
        let sent = [Credentials::Key("mf_x"), Credentials::Token("..")];
        for credentials in sent.iter().map(Some).chain([None]) {
            let result = authenticator.cached(credentials);
            assert!(matches!(result, Some(Ok(Identity::Open))), "{result:?}");
        }
    }
}
