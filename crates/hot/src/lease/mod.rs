//! Leases, which elect a leader among the processes that can do a job.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    connection::{HotError, HotStore, TimeReply, millis, script, to_micros},
    metrics as names,
};

script!(RENEW, include_str!("renew_lease.lua"));
script!(RELEASE, include_str!("release_lease.lua"));

/// The lease for a job. Redis stores at most one holder at a time.
///
/// Each candidate calls [`acquire_or_renew`](Self::acquire_or_renew) every
/// [`renew_interval`](Self::renew_interval). If the holder crashes or cannot reach Redis, the lease
/// expires. A holder that shuts down calls [`release`](Self::release). While Redis is unavailable,
/// no process can acquire the lease. If Redis has lost its data, the first candidate that calls
/// [`acquire_or_renew`](Self::acquire_or_renew) acquires the lease.
///
/// The former holder may still act after another process has become the leader, for example because
/// the former holder was suspended between checking the lease and acting, or because Redis has lost
/// the lease. Therefore the actions of a leader must be fenced. Before a script writes to Redis, it
/// compares the lease key with `value`. Any other action passes on the monotonic
/// [`token`](Self::token), or starts only if [`remaining`](Self::remaining) is longer than the
/// action can take.
pub struct Lease {
    store: HotStore,
    job: &'static str,
    holder: String,
    ttl: Duration,
    held: Option<Held>,
}

/// An acquired lease.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// The fencing token, which is greater than all earlier tokens.
    token: u64,
    /// The earliest time at which the lease can expire.
    until: Instant,
}

/// The role of this process for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// This process holds the lease.
    Leader,
    /// Another process holds the lease, which expires after this time unless it is renewed.
    Standby(Duration),
}

impl Lease {
    /// Creates a handle to the lease for a job without acquiring the lease. An acquired lease
    /// expires `ttl` after the last renewal.
    #[must_use]
    pub fn new(store: &HotStore, job: &'static str, ttl: Duration) -> Self {
        let holder = Uuid::now_v7().simple().to_string();
        Self { store: store.clone(), job, holder, ttl, held: None }
    }

    /// Returns the interval between renewals, which is a third of the time to live.
    #[must_use]
    pub fn renew_interval(&self) -> Duration {
        self.ttl / 3
    }

    /// Acquires the lease if it is free, or renews it if this process holds it. O(1).
    ///
    /// The reply also corrects [`HotStore::clock`], so every leader has a synchronized estimate of
    /// the Redis clock.
    pub async fn acquire_or_renew(&mut self) -> Result<Role, HotError> {
        let keys = &self.store.keys;
        let mut call = RENEW.prepare_invoke();
        call.key(keys.lease(self.job)).key(keys.lease_token(self.job));
        call.arg(&self.holder).arg(millis(self.ttl));
        // Compute the time before the call, so that Redis never expires the lease before this time.
        let until = Instant::now() + self.ttl;
        let reply = self
            .store
            .call(async |connection| {
                let sent = std::time::Instant::now();
                let reply: (Option<u64>, u64, TimeReply) = call.invoke_async(connection).await?;
                Ok((sent, reply, std::time::Instant::now()))
            })
            .await;
        if let Ok((sent, (token, _, time), received)) = &reply {
            self.held = token.map(|token| Held { token, until });
            self.store.clock.observe(*sent, *received, to_micros(*time));
        }
        self.update_metric();
        let (_, (_, remaining_ms, _), _) = reply?;
        Ok(match self.held {
            Some(_) => Role::Leader,
            None => Role::Standby(Duration::from_millis(remaining_ms)),
        })
    }

    /// Releases the lease, so that another process can acquire it immediately. Has no effect if
    /// this process does not hold the lease. O(1).
    pub async fn release(&mut self) -> Result<(), HotError> {
        let Some(value) = self.value() else { return Ok(()) };
        self.held = None;
        self.update_metric();
        let mut call = RELEASE.prepare_invoke();
        call.key(self.store.keys.lease(self.job)).arg(value);
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }

    fn update_metric(&self) {
        let is_leader = self.remaining() > Duration::ZERO;
        metrics::gauge!(names::LEADER, "lease" => self.job).set(f64::from(u8::from(is_leader)));
    }

    /// Returns the minimum time for which this process still holds the lease; zero if this process
    /// does not hold the lease or the lease may have expired.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.held.map_or(Duration::ZERO, |held| held.until.duration_since(Instant::now()))
    }

    /// Returns the fencing token; `None` if this process has not acquired the lease, has released
    /// it, or has lost it according to the last reply from Redis.
    #[must_use]
    pub fn token(&self) -> Option<u64> {
        self.held.map(|held| held.token)
    }

    /// Returns the value that this process wrote to the lease key; `None` if [`token`](Self::token)
    /// returns `None`.
    pub(crate) fn value(&self) -> Option<String> {
        self.token().map(|token| format!("{token}:{}", self.holder))
    }

    pub(crate) fn job(&self) -> &'static str {
        self.job
    }
}
