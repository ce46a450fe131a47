//! Leases: for each job that must be done once, one process of all that would do it.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::Script;
use mayfly_runtime::metrics as names;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{accept::millis, error::HotError, pool::Hot};

static HOLD: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/hold_lease.lua")));
static RELEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/release_lease.lua")));

/// The lease of a job, held by one process at a time, or by none.
///
/// Whoever wants the job calls [`hold`](Self::hold) again and again, best every
/// [`RENEW_EVERY`](Self::renew_every): that acquires the lease where it is free, and renews it. A
/// holder that dies, or that Redis does not hear of, loses it after its time to live; one that
/// leaves gives it back by [`release`](Self::release). While Redis is away nobody gets it; a Redis
/// that was emptied gives it to the first who asks.
///
/// A process can be frozen between asking and acting, and wake up when another leads. So what it
/// does has to be harmless then: an effect in Redis belongs into a script that compares the lease
/// with [`value`](Self::value), one elsewhere carries the [`token`](Self::token), which only rises,
/// or begins only where [`remaining`](Self::remaining) outlasts it.
pub struct Lease {
    hot: Hot,
    job: &'static str,
    holder: String,
    ttl: Duration,
    held: Option<Held>,
}

/// What is known of a lease that was acquired.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Greater than all that were given out before.
    token: u64,
    /// It does not end before.
    until: Instant,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This process leads.
    Mine,
    /// Another one leads; if nothing is heard of it, then for so long.
    Others(Duration),
}

impl Lease {
    /// The lease of a job, which is not asked for yet; without renewal it ends after `ttl`.
    #[must_use]
    pub fn new(hot: &Hot, job: &'static str, ttl: Duration) -> Self {
        let holder = Uuid::now_v7().simple().to_string();
        Self { hot: hot.clone(), job, holder, ttl, held: None }
    }

    /// How often it is to be renewed: two renewals may fail.
    #[must_use]
    pub fn renew_every(&self) -> Duration {
        self.ttl / 3
    }

    /// Acquires the lease if it is free, and renews it if it is held.
    pub async fn hold(&mut self) -> Result<Turn, HotError> {
        let keys = &self.hot.keys;
        let mut call = HOLD.prepare_invoke();
        call.key(keys.lease(self.job)).key(keys.lease_token(self.job));
        call.arg(&self.holder).arg(millis(self.ttl));
        // From before it was asked for: Redis counts from later.
        let until = Instant::now() + self.ttl;
        let answer: Result<(Option<u64>, u64), _> =
            self.hot.call(async |connection| call.invoke_async(connection).await).await;
        if let Ok((token, _)) = &answer {
            self.held = token.map(|token| Held { token, until });
        }
        self.show();
        let (_, left) = answer?;
        Ok(match self.held {
            Some(_) => Turn::Mine,
            None => Turn::Others(Duration::from_millis(left)),
        })
    }

    /// Gives it back, so that another process leads at once. Does nothing where it is not held.
    pub async fn release(&mut self) -> Result<(), HotError> {
        let Some(value) = self.value() else { return Ok(()) };
        self.held = None;
        self.show();
        let mut call = RELEASE.prepare_invoke();
        call.key(self.hot.keys.lease(self.job)).arg(value);
        self.hot.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Shows in metrics whether this process leads.
    fn show(&self) {
        let leads = self.remaining() > Duration::ZERO;
        metrics::gauge!(names::LEADER, "lease" => self.job).set(f64::from(u8::from(leads)));
    }

    /// How long it is held for certain; zero if it is not.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.held.map_or(Duration::ZERO, |held| held.until.duration_since(Instant::now()))
    }

    /// The number of this holding, as long as it was not heard to be over.
    #[must_use]
    pub fn token(&self) -> Option<u64> {
        self.held.map(|held| held.token)
    }

    /// What stands under the key while this process holds it.
    pub(crate) fn value(&self) -> Option<String> {
        self.token().map(|token| format!("{token}:{}", self.holder))
    }

    pub(crate) fn job(&self) -> &'static str {
        self.job
    }
}
