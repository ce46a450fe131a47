//! Lists the pages of a host that have more visitors than before, for callers with an API key.
//!
//! The key is a query parameter, and is required even if the services accept requests without
//! credentials.
//!
//! With the source `visits`, an answer is cached for one second. With the source `chartbeat`, a
//! fresh answer is cached until a newer one can exist, and the answer for a busy host is refreshed
//! before it expires. Requests receive the old answer in the meantime.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mayfly_auth::{Access, Identity, is_key_text};
use mayfly_authenticator::{AuthError, Authenticator, Rejection};
use mayfly_core::{Host, KeyHash, limits};
use mayfly_hot::HotStore;
use mayfly_http::{ClientAddress, Problem};
use mayfly_runtime::{Settings, settings::RisingSource};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    cache::{CacheEntry, SingleFlightCache},
    json::increases_to_json,
    problems::{unauthorized, upstream_failed, upstream_rejected},
    upstream::{
        HostCredential, HostCredentialId, UpstreamAnswer, check_credential, fetch_increases,
        refresh_increases,
    },
};

/// The maximum number of keys that a process checks with the source concurrently.
const CREDENTIAL_CHECKS_MAX: usize = 100;
/// How long before its expiry an answer can be refreshed.
const REFRESH_AHEAD: Duration = Duration::from_millis(600);
/// How much longer the old answer is served during a refresh: about the duration of a call.
const REFRESH_EXTENSION: Duration = Duration::from_secs(1);
/// How long an answer is cached with the source `visits`.
const VISITS_TTL: Duration = Duration::from_secs(1);

/// Queries for pages with more visitors than before. Each HTTP thread has its own instance.
pub struct IncreaseQueries {
    hot: HotStore,
    authenticator: Arc<Authenticator>,
    source: RisingSource,
    caches: Arc<IncreaseCaches>,
}

/// The caches, shared by all threads.
pub struct IncreaseCaches {
    /// Whether the source accepts a key that is not registered.
    credentials: SingleFlightCache<HostCredentialId, UpstreamAnswer<()>>,
    credential_checks: Arc<Semaphore>,
    increases: SingleFlightCache<Host, UpstreamAnswer<Bytes>>,
    /// The answers for generated keys with the source `chartbeat`. They do not depend on a call to
    /// the source, so they can be older than the answers for keys of the source.
    watched: SingleFlightCache<Host, UpstreamAnswer<Bytes>>,
}

/// The pages of a host that have more visitors than before.
pub struct Increases {
    /// The list as JSON.
    pub json: Bytes,
    /// The age of the list if the source has failed since it returned the list; otherwise `None`.
    pub stale_age: Option<Duration>,
}

impl IncreaseCaches {
    /// Creates empty caches.
    pub fn new() -> Self {
        Self {
            credentials: SingleFlightCache::new(),
            credential_checks: Arc::new(Semaphore::new(CREDENTIAL_CHECKS_MAX)),
            increases: SingleFlightCache::new(),
            watched: SingleFlightCache::new(),
        }
    }
}

impl IncreaseQueries {
    /// Creates the queries.
    pub fn new(
        hot: HotStore,
        authenticator: Arc<Authenticator>,
        settings: &Settings,
        caches: Arc<IncreaseCaches>,
    ) -> Self {
        Self { hot, authenticator, source: settings.rising.source, caches }
    }

    /// Lists the pages of a host that have more visitors than before, largest increase first.
    pub async fn list_increases(
        &self,
        api_key: &str,
        host: &str,
        client: &ClientAddress,
    ) -> Result<Increases, Problem> {
        let host =
            Host::parse(host).ok().filter(|_| is_valid_key(api_key)).ok_or_else(unauthorized)?;
        let id = HostCredentialId { hash: KeyHash::from_key(api_key), host };
        let credential = HostCredential { key: api_key, id };
        // A generated key is a secret of this installation and must not be sent to the source.
        let is_generated = is_key_text(api_key);
        if !self.is_registered(&credential, client).await? {
            if self.source == RisingSource::Visits || is_generated {
                return Err(self.reject(client, unauthorized()).await);
            }
            self.check_at_source(&credential, client).await?;
        }
        let (increases, host) = (&self.caches.increases, &credential.id.host);
        let answer = match self.source {
            RisingSource::Visits => {
                increases.get(host, || find_increases(self.hot.clone(), host.clone())).await?
            }
            RisingSource::Chartbeat if is_generated => {
                let fetch = || find_watched_increases(self.hot.clone(), host.clone());
                self.caches.watched.get(host, fetch).await?
            }
            RisingSource::Chartbeat => {
                self.refresh_ahead(&credential);
                let fetch = || fetch_increases(self.hot.clone(), credential.to_owned());
                increases.get(host, fetch).await?
            }
        };
        match answer {
            UpstreamAnswer::Fresh(json) => Ok(Increases { json, stale_age: None }),
            UpstreamAnswer::Stale { value, age, observed_at } => {
                Ok(Increases { json: value, stale_age: Some(age + observed_at.elapsed()) })
            }
            UpstreamAnswer::Rejected => Err(upstream_rejected()),
            UpstreamAnswer::Failed => Err(upstream_failed()),
        }
    }

    /// Starts refreshing the cached answer if it expires soon, so that requests for a busy host
    /// rarely wait for a call.
    fn refresh_ahead(&self, credential: &HostCredential<&str>) {
        let increases = &self.caches.increases;
        if !increases.begin_refresh(&credential.id.host, REFRESH_AHEAD, REFRESH_EXTENSION) {
            return;
        }
        let (caches, host) = (self.caches.clone(), credential.id.host.clone());
        let refresh = refresh_increases(self.hot.clone(), credential.to_owned(), REFRESH_AHEAD);
        tokio::spawn(async move {
            if let Some(entry) = refresh.await {
                caches.increases.insert(host, entry);
            }
        });
    }

    /// Returns whether the key is registered and has the right to the host. Returns an error if the
    /// key was revoked or has expired, or if it cannot be checked.
    async fn is_registered(
        &self,
        credential: &HostCredential<&str>,
        client: &ClientAddress,
    ) -> Result<bool, Problem> {
        match self.authenticator.authenticate_key(credential.key, client).await {
            Ok(key) => {
                let access = Access::ReadHost { host: credential.id.host.as_str() };
                Ok(Identity::Key(key).allows(&access))
            }
            Err(AuthError::Invalid(Rejection::Unknown)) => Ok(false),
            Err(AuthError::Missing | AuthError::Invalid(_)) => {
                Err(self.reject(client, unauthorized()).await)
            }
            Err(error) => Err(Problem::from_auth_error(&error)),
        }
    }

    /// Counts a failed authentication. Returns `problem`, which reports it, unless the client has
    /// exceeded its limit.
    async fn reject(&self, client: &ClientAddress, problem: Problem) -> Problem {
        match self.authenticator.count_failure(client).await {
            AuthError::Missing | AuthError::Invalid(_) => problem,
            error => Problem::from_auth_error(&error),
        }
    }

    /// Checks with the source whether an unregistered key is valid for the host. Also returns an
    /// error if the source fails, because the key then cannot be verified. A rejected key is a
    /// failed authentication, so that a client cannot try any number of keys of the source.
    async fn check_at_source(
        &self,
        credential: &HostCredential<&str>,
        client: &ClientAddress,
    ) -> Result<(), Problem> {
        let permits = &self.caches.credential_checks;
        let fetch = || check_credential(self.hot.clone(), credential.to_owned(), permits.clone());
        match self.caches.credentials.get(&credential.id, fetch).await? {
            UpstreamAnswer::Fresh(()) => Ok(()),
            UpstreamAnswer::Rejected => Err(self.reject(client, upstream_rejected()).await),
            UpstreamAnswer::Failed | UpstreamAnswer::Stale { .. } => Err(upstream_failed()),
        }
    }
}

/// Returns whether a text has the format of a key.
fn is_valid_key(text: &str) -> bool {
    (1..=limits::SOURCE_KEY_CHARS_MAX).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
}

/// Returns the increases in the latest trend snapshot, and requests samples of the host, which
/// stats-publisher takes with a key that the source has accepted for the host.
async fn find_watched_increases(
    hot: HotStore,
    requested: Host,
) -> CacheEntry<UpstreamAnswer<Bytes>> {
    match hot.trends().watch_hosts(std::slice::from_ref(&requested)).await {
        Ok(()) => find_increases(hot, requested).await,
        Err(error) => CacheEntry::failed(error),
    }
}

/// Returns the increases in the latest trend snapshot, which stats-publisher computed from the
/// visits that Mayfly accepted.
async fn find_increases(hot: HotStore, requested: Host) -> CacheEntry<UpstreamAnswer<Bytes>> {
    let started = Instant::now();
    match hot.trends().find(&requested).await {
        Ok(trends) => {
            let answer = UpstreamAnswer::Fresh(increases_to_json(trends.as_ref()));
            CacheEntry::new(answer, started + VISITS_TTL)
        }
        Err(error) => CacheEntry::failed(error),
    }
}
