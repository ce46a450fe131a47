//! The keys that verify tokens. Public keys come from a file or a URL, and are refreshed in the
//! background. If a refresh fails, the previous keys remain in use.

mod source;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_auth::{JwkSet, Token, TokenError, TokenSecret, TokenSettings, TokenVerifier};
use mayfly_runtime::{
    Component, Criticality, Health,
    settings::{AuthSettings, TokenSecrets},
};
use parking_lot::{Mutex, RwLock};
use secrecy::ExposeSecret;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use self::source::{Source, SourceError};
use crate::versions::Versions;

/// The minimum time between the starts of two refreshes.
const REFRESH_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// The maximum time that a request waits for a refresh.
const REFRESH_WAIT: Duration = Duration::from_secs(3);
/// The name of the health component.
const COMPONENT: &str = "jwks";

/// The keys that verify tokens.
pub(crate) struct TokenKeys {
    current: RwLock<Current>,
    /// Whether public keys are configured but were never loaded.
    is_loading: AtomicBool,
    refresher: Option<Refresher>,
}

struct Current {
    verifier: TokenVerifier,
    /// The number of key sets that were used before.
    number: u64,
}

/// The refresh of public keys.
struct Refresher {
    source: Source,
    component: Component,
    /// Notified when a token names an unknown key.
    requested: Notify,
    state: Mutex<RefreshState>,
    /// The number of completed refreshes.
    completed: watch::Sender<u64>,
}

#[derive(Default)]
struct RefreshState {
    is_running: bool,
    /// The earliest time of the next refresh.
    next_at: Option<Instant>,
}

impl TokenKeys {
    /// Creates the keys. Public keys in a file are already loaded; public keys at a URL are loaded
    /// by [`Self::refresh_periodically`]. `health` is `None` if the keys are never refreshed.
    pub(crate) fn new(settings: &AuthSettings, health: Option<&Health>) -> Self {
        let refresher = Source::new(settings).zip(health).map(|(source, health)| Refresher {
            source,
            component: health.register(COMPONENT, Criticality::Optional),
            requested: Notify::new(),
            state: Mutex::default(),
            completed: watch::Sender::new(0),
        });
        let verifier = TokenVerifier::new(TokenSettings {
            secrets: parse_secrets(settings),
            jwks: refresher.as_ref().map(|_| JwkSet::default()),
            issuers: settings.issuer.clone(),
            audiences: settings.audience.clone(),
        });
        let keys = Self {
            current: RwLock::new(Current { verifier, number: 0 }),
            is_loading: AtomicBool::new(refresher.is_some()),
            refresher,
        };
        if let (Some(refresher), Some(file)) = (&keys.refresher, &settings.jwks_file) {
            let result = JwkSet::parse(file.content()).map(|set| keys.replace(set));
            refresher.report(result.map_err(SourceError::from));
        }
        keys
    }

    /// Verifies a token. If the key of the token is unknown and a refresh is allowed now, refreshes
    /// the public keys first. `now_s` is the time in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The reason why the token is invalid; `None` if public keys have not been loaded yet.
    pub(crate) async fn verify(
        &self,
        token: &str,
        now_s: i64,
    ) -> Result<Token, Option<TokenError>> {
        // Read before the keys, so that a key that is loaded in between does not count as unknown.
        let mut is_loading = self.is_loading.load(Ordering::Acquire);
        let (verifier, number) = self.current();
        let mut result = verifier.verify(token, now_s);
        if result == Err(TokenError::UnknownKey)
            && let Some(refresher) = &self.refresher
        {
            refresher.request_refresh().await;
            let (verifier, newer) = self.current();
            if newer != number {
                is_loading = false;
                result = verifier.verify(token, now_s);
            }
        }
        match result {
            Err(TokenError::UnknownKey) if is_loading => Err(None),
            result => result.map_err(Some),
        }
    }

    fn current(&self) -> (TokenVerifier, u64) {
        let current = self.current.read();
        (current.verifier.clone(), current.number)
    }

    fn replace(&self, set: JwkSet) {
        let mut current = self.current.write();
        *current =
            Current { verifier: current.verifier.with_jwks(set), number: current.number + 1 };
        self.is_loading.store(false, Ordering::Release);
    }

    /// Refreshes the public keys periodically, and when a token names an unknown key. Never
    /// completes.
    pub(crate) async fn refresh_periodically(self: Arc<Self>, versions: Arc<Versions>) {
        let Some(refresher) = &self.refresher else { return std::future::pending().await };
        let is_loaded = !self.is_loading.load(Ordering::Acquire);
        let mut known = refresher.source.initial_content().filter(|_| is_loaded);
        loop {
            let started_at = Instant::now();
            refresher.begin(started_at + REFRESH_INTERVAL_MIN);
            let result = match refresher.source.read().await {
                Ok(content) if known.as_ref() == Some(&content) => Ok(()),
                Ok(content) => JwkSet::parse(&content).map_err(SourceError::from).map(|set| {
                    info!(component = COMPONENT, keys = set.len(), "loaded public keys");
                    self.replace(set);
                    versions.advance_tokens();
                    known = Some(content);
                }),
                Err(error) => Err(error),
            };
            let interval = match &result {
                Ok(()) => refresher.source.interval(),
                Err(_) => REFRESH_INTERVAL_MIN,
            };
            refresher.report(result);
            refresher.complete();
            tokio::select! {
                () = sleep_until(started_at + interval) => {}
                () = async {
                    refresher.requested.notified().await;
                    sleep_until(started_at + REFRESH_INTERVAL_MIN).await;
                } => {}
            }
        }
    }
}

impl Refresher {
    /// Requests a refresh. If the refresh begins now, waits until it has completed.
    async fn request_refresh(&self) {
        let mut completed = self.completed.subscribe();
        self.requested.notify_one();
        if self.is_refresh_due(Instant::now()) {
            // After the timeout, the token is verified with the current keys.
            let _ = timeout(REFRESH_WAIT, completed.changed()).await;
        }
    }

    fn is_refresh_due(&self, now: Instant) -> bool {
        let state = self.state.lock();
        state.is_running || state.next_at.is_none_or(|next_at| next_at <= now)
    }

    fn begin(&self, next_at: Instant) {
        *self.state.lock() = RefreshState { is_running: true, next_at: Some(next_at) };
    }

    fn complete(&self) {
        self.state.lock().is_running = false;
        self.completed.send_modify(|completed| *completed += 1);
    }

    fn report(&self, result: Result<(), SourceError>) {
        match result {
            Ok(()) => self.component.mark_up(),
            Err(error) => self.component.mark_down(error.to_string()),
        }
    }
}

/// Returns the secrets that verify HS256 tokens. The configuration has checked their sizes.
fn parse_secrets(settings: &AuthSettings) -> Vec<TokenSecret> {
    let texts = settings.secret_file.as_ref().map(TokenSecrets::as_slice).unwrap_or_default();
    let mut secrets = Vec::new();
    for text in texts {
        match TokenSecret::parse(text.expose_secret()) {
            Ok(secret) => secrets.push(secret),
            Err(rule) => warn!(component = "auth", rule, "ignoring a secret of auth.secret_file"),
        }
    }
    secrets
}

#[cfg(test)]
mod tests;
