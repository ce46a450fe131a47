//! The refresh: every known host is sampled at least once per period of the clock.
//!
//! Redis records that a host was sampled in a period. A new leader considers all hosts of the
//! period again and calls only for those that were not sampled.

use std::{collections::VecDeque, time::Duration};

use mayfly_cold::{ColdError, ColdStore};
use mayfly_core::{Host, Timestamp};
use mayfly_runtime::OutageLog;
use tokio::{task::JoinHandle, time::Instant};
use tracing::debug;

use crate::schedule::Schedule;

/// The pause after the hosts could not be listed.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

type HostQuery = JoinHandle<Result<Vec<Host>, ColdError>>;

/// The hosts that are to be sampled in the current period.
pub struct Refresh {
    cold: ColdStore,
    schedule: Schedule,
    /// The start of the period whose hosts are listed.
    period: Option<Timestamp>,
    /// The remaining hosts and the earliest times of their calls.
    remaining: VecDeque<(Host, Instant)>,
    /// The query of the hosts in progress, and its period.
    query: Option<(Timestamp, HostQuery)>,
    retry_at: Instant,
    outages: OutageLog,
}

impl Refresh {
    /// Creates a refresh of the hosts in Postgres once per `period`.
    pub fn new(cold: ColdStore, period: Duration) -> Self {
        Self {
            cold,
            schedule: Schedule::new(period),
            period: None,
            remaining: VecDeque::new(),
            query: None,
            retry_at: Instant::now(),
            outages: OutageLog::new("list the hosts to be refreshed"),
        }
    }

    /// Starts over, after another instance was the leader.
    pub fn reset(&mut self) {
        (self.period, self.query) = (None, None);
        self.remaining.clear();
    }

    /// Removes and returns a host that is due, with the start of the period.
    pub async fn next(&mut self, now: Timestamp) -> Option<(Host, Timestamp)> {
        self.list_hosts(self.schedule.interval_start(now)).await;
        let period = self.period?;
        for _ in 0..self.remaining.len() {
            let (host, due_at) = self.remaining.pop_front()?;
            if due_at <= Instant::now() {
                return Some((host, period));
            }
            self.remaining.push_back((host, due_at));
        }
        None
    }

    /// Puts back a host, to be returned after `wait`.
    pub fn put_back(&mut self, host: Host, wait: Duration) {
        self.remaining.push_back((host, Instant::now() + wait));
    }

    /// Lists the hosts once per period, without waiting for Postgres.
    async fn list_hosts(&mut self, period: Timestamp) {
        if let Some((of, query)) = self.query.take_if(|(_, query)| query.is_finished()) {
            match query.await {
                Ok(found) => {
                    self.outages.record(&found);
                    if let Ok(hosts) = found {
                        self.period = Some(of);
                        let now = Instant::now();
                        self.remaining = hosts.into_iter().map(|host| (host, now)).collect();
                    } else {
                        self.retry_at = Instant::now() + RETRY_INTERVAL;
                    }
                }
                Err(error) => debug!(%error, "the query of the hosts was canceled; retrying"),
            }
        }
        let is_due = self.period != Some(period) && self.query.is_none();
        if is_due && Instant::now() >= self.retry_at {
            let cold = self.cold.clone();
            let query = tokio::spawn(async move { cold.hosts().list().await });
            self.query = Some((period, query));
        }
    }
}
