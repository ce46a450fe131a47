//! The limit on the total size of the replays that the process is reading or has queued for
//! clients.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of the budget, in bytes.
const KIB: usize = 1024;

/// The memory budget that all replays share. Before each page of a replay, the connection acquires
/// a share. Connections acquire shares in the order of their requests.
pub(crate) struct ReplayBudget {
    free_kib: Arc<Semaphore>,
    kib_max: usize,
    /// Number of connections that wait for a share.
    waiting: AtomicUsize,
}

/// A share of the budget, returned on drop.
pub(crate) struct ReplayShare(OwnedSemaphorePermit);

impl ReplayBudget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let kib_max = (bytes_max / KIB).clamp(1, u32::MAX as usize);
        Self { free_kib: Arc::new(Semaphore::new(kib_max)), kib_max, waiting: AtomicUsize::new(0) }
    }

    /// Acquires a share of `bytes` bytes, or the whole budget if the budget is smaller. Waits until
    /// the share is available.
    pub(crate) async fn acquire(&self, bytes: usize) -> ReplayShare {
        let kib = u32::try_from(bytes.div_ceil(KIB).min(self.kib_max)).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.free_kib).try_acquire_many_owned(kib) {
            return ReplayShare(permit);
        }
        let _waiting = Waiting::new(&self.waiting);
        let permit = Arc::clone(&self.free_kib).acquire_many_owned(kib).await;
        ReplayShare(permit.expect("invariant: the semaphore is never closed"))
    }

    /// Returns whether connections are waiting for a share.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl ReplayShare {
    /// Shrinks a larger share to `bytes` bytes, rounded up to a multiple of 1 KiB, and returns the
    /// rest to the budget.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(bytes.div_ceil(KIB));
        drop(self.0.split(surplus));
    }
}

/// A guard that counts a waiting connection. Dropping the guard reverts the count, even if the
/// connection's task is aborted.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn connections_acquire_shares_in_order() {
        let budget = ReplayBudget::new(4 * KIB);
        let mut first = budget.acquire(3 * KIB).await;
        let (mut second, mut third) =
            (Box::pin(budget.acquire(2 * KIB)), Box::pin(budget.acquire(KIB)));
        assert!(!budget.is_exhausted());
        assert!(second.as_mut().now_or_never().is_none() && budget.is_exhausted());
        assert!(third.as_mut().now_or_never().is_none(), "the second request is served first");
        first.shrink(2 * KIB - 1);
        let second = second.now_or_never().expect("the share fits");
        assert!(third.as_mut().now_or_never().is_none());
        drop((first, second));
        assert!(third.now_or_never().is_some() && !budget.is_exhausted());
    }

    #[tokio::test]
    async fn page_larger_than_the_budget_takes_all_of_it() {
        let budget = ReplayBudget::new(1);
        let mut share = budget.acquire(100 * KIB).await;
        assert!(budget.acquire(1).now_or_never().is_none(), "the whole budget is in use");
        share.shrink(100 * KIB);
        share.shrink(0);
        assert!(budget.acquire(1).now_or_never().is_some());
    }
}
