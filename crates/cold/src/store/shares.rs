//! Shares of the pool: reads of one kind cannot use the sessions reserved for other kinds.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::error::ColdError;

/// A kind of read that serves requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadKind {
    /// Messages and dead letters by ID.
    MessagesById,
    /// Pages of messages.
    MessageLists,
    /// Play counts by video.
    PlayCounts,
    /// Pages of play counts. Each page requires a scan of all counts.
    PlayLists,
    /// Samples and hourly totals of hosts.
    History,
}

const KINDS: usize = 5;
/// The pool size divided by this number is the number of sessions reserved for each kind, but at
/// least one session is reserved.
const SHARE_DIVISOR: usize = 8;

/// The sessions of a pool, divided among the kinds of reads. An eighth of the pool, but at least
/// one session, is reserved for each kind. Another eighth, but at least one session, is left for
/// the health check, and all kinds except scans share the rest. If the reads of one kind are slow
/// and use all shared sessions, the other kinds still have their reserved sessions.
///
/// If the pool is too small for these reservations, all kinds share all sessions but one, which is
/// left for the health check. A pool of one session has no session for the health check alone.
#[derive(Debug)]
pub(super) struct Shares {
    own: [Arc<Semaphore>; KINDS],
    common: Arc<Semaphore>,
}

/// A permit to use one session. Dropping the permit releases the session.
pub(super) type Slot = OwnedSemaphorePermit;

impl Shares {
    /// Divides a pool of `pool_size` sessions.
    pub(super) fn new(pool_size: usize) -> Self {
        let semaphore = |slots| Arc::new(Semaphore::new(slots));
        let own = (pool_size / SHARE_DIVISOR).max(1);
        let Some(common) = pool_size.checked_sub(own * (KINDS + 1)) else {
            let shared = semaphore(pool_size.saturating_sub(1).max(1));
            return Self { own: [(); KINDS].map(|()| Arc::clone(&shared)), common: semaphore(0) };
        };
        Self { own: [(); KINDS].map(|()| semaphore(own)), common: semaphore(common) }
    }

    /// Waits until a read of this kind may use a session.
    ///
    /// # Errors
    /// [`ColdError::Overloaded`] if the wait exceeds `wait_max`.
    pub(super) async fn acquire(
        &self,
        kind: ReadKind,
        wait_max: Duration,
    ) -> Result<Slot, ColdError> {
        let own = Arc::clone(&self.own[kind as usize]);
        let acquired = async {
            if kind.is_scan() {
                return own.acquire_owned().await;
            }
            tokio::select! {
                biased;
                slot = own.acquire_owned() => slot,
                slot = Arc::clone(&self.common).acquire_owned() => slot,
            }
        };
        match timeout(wait_max, acquired).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(ColdError::Overloaded),
        }
    }
}

impl ReadKind {
    /// Returns whether the read scans an entire table. Scans do not use the shared sessions.
    fn is_scan(self) -> bool {
        self == Self::PlayLists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT_MAX: Duration = Duration::from_millis(750);
    const ALL: [ReadKind; KINDS] = [
        ReadKind::MessagesById,
        ReadKind::MessageLists,
        ReadKind::PlayCounts,
        ReadKind::PlayLists,
        ReadKind::History,
    ];

    /// Acquires slots until an attempt fails.
    async fn exhaust(shares: &Shares, kind: ReadKind) -> Vec<Slot> {
        let mut slots = Vec::new();
        while let Ok(slot) = shares.acquire(kind, WAIT_MAX).await {
            slots.push(slot);
        }
        slots
    }

    #[tokio::test(start_paused = true)]
    async fn every_kind_keeps_its_reserved_sessions() {
        for (pool_size, first, others, scans) in [(8, 3, 1, 1), (16, 6, 2, 2), (64, 24, 8, 8)] {
            let shares = Shares::new(pool_size);
            let mut slots = Vec::new();
            for (index, kind) in ALL.into_iter().enumerate() {
                let acquired = exhaust(&shares, kind).await;
                let expected = match kind {
                    ReadKind::PlayLists => scans,
                    _ if index == 0 => first,
                    _ => others,
                };
                assert_eq!(acquired.len(), expected, "{kind:?} of {pool_size}");
                slots.extend(acquired);
            }
            assert!(slots.len() < pool_size, "a session is left for the health check");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn small_pool_has_a_session_for_the_health_check() {
        for (pool_size, slots) in [(1, 1), (2, 1), (5, 4), (6, 5)] {
            let shares = Shares::new(pool_size);
            let mut acquired = Vec::new();
            for kind in ALL {
                acquired.extend(exhaust(&shares, kind).await);
            }
            assert_eq!(acquired.len(), slots, "of {pool_size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn read_waits_for_a_session_of_its_share() {
        let shares = Shares::new(1);
        let first = shares.acquire(ReadKind::History, WAIT_MAX).await.expect("a free session");
        let (second, ()) = tokio::join!(shares.acquire(ReadKind::History, WAIT_MAX), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(first);
        });
        let _second = second.expect("a session that was released in time");
        let error = shares.acquire(ReadKind::History, WAIT_MAX).await.expect_err("none is free");
        assert!(matches!(error, ColdError::Overloaded), "{error:?}");
    }
}
