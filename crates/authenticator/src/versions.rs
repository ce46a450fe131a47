//! The versions of the keys and revocations, which show whether cached credentials are current.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mayfly_core::StoreError;
use mayfly_hot::{AccessVersions, HotStore};
use mayfly_runtime::{OutageLog, ticker};
use tokio::{sync::watch, time::Instant};
use tracing::debug;

/// The interval between two readings of the versions.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The time for which a reading is trusted. A revocation takes effect within this time, even if
/// Redis does not respond.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// A number that increases whenever keys or revocations have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u64);

/// The versions as last read from Redis, and the generations derived from them.
pub(crate) struct Versions {
    created_at: Instant,
    /// The time until which the last reading is trusted, in microseconds since `created_at`.
    trusted_until: AtomicU64,
    /// The generation of the keys. A cached key of another generation must be checked again.
    keys: AtomicU64,
    /// The generation of the revocations and of the keys that verify tokens.
    tokens: AtomicU64,
    changes: watch::Sender<Generation>,
}

impl Versions {
    /// Creates the versions of a process that has not read them yet.
    pub(crate) fn new() -> Self {
        Self {
            created_at: Instant::now(),
            trusted_until: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            changes: watch::Sender::new(Generation::default()),
        }
    }

    /// Returns whether the generations were current a moment ago.
    pub(crate) fn is_trusted(&self) -> bool {
        self.micros_at(Instant::now()) < self.trusted_until.load(Ordering::Acquire)
    }

    /// Returns the generation of the keys.
    pub(crate) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Acquire)
    }

    /// Returns the generation of the tokens.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Acquire)
    }

    /// Begins a new generation of the tokens, because other keys verify them now. Connections stay
    /// open, because tokens that were accepted before are not verified again.
    pub(crate) fn advance_tokens(&self) {
        self.tokens.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns a receiver that is notified of new generations.
    pub(crate) fn changes(&self) -> watch::Receiver<Generation> {
        self.changes.subscribe()
    }

    /// Records the versions that Redis returned to a request sent at `sent_at`. `known` contains
    /// the versions that were recorded before.
    fn record(&self, known: &mut Option<AccessVersions>, read: AccessVersions, sent_at: Instant) {
        let previous = known.as_ref();
        let has_keys_changed = previous.is_none_or(|previous| previous.keys != read.keys);
        let have_revocations_changed =
            previous.is_none_or(|previous| previous.revocations != read.revocations);
        if has_keys_changed {
            self.keys.fetch_add(1, Ordering::AcqRel);
        }
        if have_revocations_changed {
            self.advance_tokens();
        }
        *known = Some(read);
        // The old entries are no longer current at this point, so the cache can be trusted again.
        self.trusted_until.store(self.micros_at(sent_at + TRUSTED_FOR), Ordering::Release);
        if has_keys_changed || have_revocations_changed {
            self.changes.send_modify(|generation| generation.0 += 1);
        }
    }

    fn micros_at(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.created_at);
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Reads the versions periodically, and calls `after_poll` after each reading. Never completes.
pub(crate) async fn poll_versions(
    versions: Arc<Versions>,
    hot: HotStore,
    after_poll: impl Fn() + Send,
) {
    let mut ticks = ticker(POLL_INTERVAL);
    let mut known = None;
    let rejections = OutageLog::new("read the versions of keys and revocations");
    loop {
        ticks.tick().await;
        let sent_at = Instant::now();
        match hot.read_access_versions().await {
            Ok(read) => {
                rejections.record_success();
                versions.record(&mut known, read, sent_at);
            }
            // The health check logs outages of Redis.
            Err(error) if error.is_rejection() => rejections.record_failure(error),
            Err(error) => debug!(%error, "cannot read the versions of keys and revocations"),
        }
        after_poll();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keys: Option<&str>, revocations: Option<&str>) -> AccessVersions {
        AccessVersions {
            keys: keys.map(str::to_owned),
            revocations: revocations.map(str::to_owned),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reading_is_trusted_for_a_second_after_its_request() {
        let versions = Versions::new();
        assert!(!versions.is_trusted());
        let sent_at = Instant::now();
        tokio::time::advance(Duration::from_millis(700)).await;
        versions.record(&mut None, read(Some("1"), Some("1")), sent_at);
        assert!(versions.is_trusted());
        tokio::time::advance(Duration::from_millis(299)).await;
        assert!(versions.is_trusted());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!versions.is_trusted());
    }

    #[tokio::test(start_paused = true)]
    async fn every_change_begins_a_generation() {
        let versions = Versions::new();
        let (mut known, mut changes) = (None, versions.changes());
        let mut record = |read| {
            versions.record(&mut known, read, Instant::now());
            let has_changed = changes.has_changed().expect("the sender exists");
            changes.mark_unchanged();
            (versions.keys(), versions.tokens(), has_changed)
        };
        assert_eq!(record(read(Some("1"), Some("1"))), (1, 1, true), "the first reading");
        assert_eq!(record(read(Some("1"), Some("1"))), (1, 1, false));
        assert_eq!(record(read(Some("2"), Some("1"))), (2, 1, true), "a changed key");
        assert_eq!(record(read(Some("2"), Some("2"))), (2, 2, true), "a revoked token");
        assert_eq!(record(read(None, None)), (3, 3, true), "lost data");
        assert_eq!(record(read(Some("2"), Some("2"))), (4, 4, true), "restored data");
    }
}
