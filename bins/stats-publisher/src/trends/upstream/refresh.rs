//! Schedules refreshes: the calls that sample each known host with an accepted key once per clock
//! period, unless the host has already been sampled in the period. A failed refresh is not repeated
//! in the same period.
//!
//! Redis records which hosts have been sampled or refreshed in a period. A new leader considers all
//! hosts again, but calls the service only for hosts without a record for the current period.

use std::{collections::VecDeque, time::Duration};

use mayfly_cold::{ColdError, ColdStore};
use mayfly_core::{Host, Timestamp};
use mayfly_runtime::OutageLog;
use tokio::{task::JoinHandle, time::Instant};
use tracing::debug;

use crate::schedule::Schedule;

/// The pause after a failure to list the hosts.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

type HostQuery = JoinHandle<Result<Vec<Host>, ColdError>>;

/// The hosts to be sampled in the current period.
pub struct Refresh {
    cold: ColdStore,
    schedule: Schedule,
    /// The start of the period for which the hosts were listed.
    period: Option<Timestamp>,
    /// The remaining hosts and the earliest times of their calls.
    remaining: VecDeque<(Host, Instant)>,
    /// The host query in progress, and the start of its period.
    query: Option<(Timestamp, HostQuery)>,
    retry_at: Instant,
    outages: OutageLog,
}

impl Refresh {
    /// Creates a refresh that lists the hosts in Postgres once per `period`.
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

    /// Discards the state after another instance has become the leader.
    pub fn reset(&mut self) {
        (self.period, self.query) = (None, None);
        self.remaining.clear();
    }

    /// Removes and returns a host that is due, with the start of the period. Returns `None` if no
    /// host is due.
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

    /// Puts a host back. The host is due again after `wait`.
    pub fn put_back(&mut self, host: Host, wait: Duration) {
        self.remaining.push_back((host, Instant::now() + wait));
    }

    /// Queries the hosts once per period and stores the result, without waiting for Postgres.
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
                Err(error) => debug!(%error, "the host query was canceled; retrying"),
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
