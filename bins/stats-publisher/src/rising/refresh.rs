//! The refresh: every known host is sampled once a period of the clock, whoever asks or not.
//!
//! That a host was sampled in a period is noted in Redis, so whoever begins to lead goes through all
//! hosts of the period again and calls for those only that were not.

use std::{collections::VecDeque, time::Duration};

use mayfly_cold::{Cold, ColdError};
use mayfly_core::{Host, Timestamp};
use tokio::{task::JoinHandle, time::Instant};
use tracing::debug;

use crate::schedule::Schedule;

/// The pause after Postgres did not say which hosts there are.
const RETRY: Duration = Duration::from_secs(2);

/// The question which hosts there are.
type Listing = JoinHandle<Result<Vec<Host>, ColdError>>;

/// The hosts that are to be sampled in the present period.
pub struct Refresh {
    cold: Cold,
    schedule: Schedule,
    /// When the period began of which the hosts are known.
    period: Option<Timestamp>,
    /// Those that are left, each with when it can be its turn.
    left: VecDeque<(Host, Instant)>,
    /// The question which hosts there are, and for which period.
    listing: Option<(Timestamp, Listing)>,
    retry_at: Instant,
}

impl Refresh {
    /// Of the hosts in this Postgres, in periods of this length.
    pub fn new(cold: Cold, period: Duration) -> Self {
        Self {
            cold,
            schedule: Schedule::new(period),
            period: None,
            left: VecDeque::new(),
            listing: None,
            retry_at: Instant::now(),
        }
    }

    /// Forgets what was done: another process leads.
    pub fn reset(&mut self) {
        (self.period, self.listing) = (None, None);
        self.left.clear();
    }

    /// Takes out a host whose turn it is, with the beginning of the period.
    pub async fn next(&mut self, now: Timestamp) -> Option<(Host, Timestamp)> {
        self.list(self.schedule.last(now)).await;
        let period = self.period?;
        for _ in 0..self.left.len() {
            let (host, turn) = self.left.pop_front()?;
            if turn <= Instant::now() {
                return Some((host, period));
            }
            self.left.push_back((host, turn));
        }
        None
    }

    /// Puts a host back whose turn is later.
    pub fn put_back(&mut self, host: Host, wait: Duration) {
        self.left.push_back((host, Instant::now() + wait));
    }

    /// Finds out which hosts there are once a period, without waiting for Postgres.
    async fn list(&mut self, period: Timestamp) {
        if let Some((of, listing)) = self.listing.take_if(|(_, listing)| listing.is_finished()) {
            match listing.await {
                Ok(Ok(hosts)) => {
                    self.period = Some(of);
                    self.left = hosts.into_iter().map(|host| (host, Instant::now())).collect();
                }
                Ok(Err(error)) => {
                    debug!(%error, "it is not known which hosts are to be refreshed");
                    self.retry_at = Instant::now() + RETRY;
                }
                Err(error) => debug!(%error, "the hosts were not listed"),
            }
        }
        let is_due = self.period != Some(period) && self.listing.is_none();
        if is_due && Instant::now() >= self.retry_at {
            let cold = self.cold.clone();
            let listing = tokio::spawn(async move { cold.list_hosts().await });
            self.listing = Some((period, listing));
        }
    }
}
