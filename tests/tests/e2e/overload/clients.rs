//! Clients that post batches, and the outcomes of their requests.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mayfly_tests::RawConnection;
use tokio::{task::JoinSet, time::sleep_until};

/// Clients that post the same request.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    pub(super) address: SocketAddr,
    pub(super) path: &'static str,
    pub(super) body: Arc<str>,
    /// The number of connections.
    pub(super) connections: u32,
    /// The interval between two requests of a connection; zero posts again immediately.
    pub(super) interval: Duration,
    pub(super) duration: Duration,
}

/// The outcomes of requests.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// The durations of the accepted requests, sorted.
    pub(super) accepted: Vec<Duration>,
    /// The durations of the requests that were refused with 503 `overloaded`, sorted.
    pub(super) refused: Vec<Duration>,
    /// All other responses.
    pub(super) others: Vec<String>,
}

impl Clients {
    /// Posts until the duration has passed, and waits for the last responses.
    pub(super) async fn run(&self) -> Outcomes {
        let mut tasks = JoinSet::new();
        let started = Instant::now();
        for number in 0..self.connections {
            let first = started + self.interval * number / self.connections;
            tasks.spawn(self.clone().run_connection(first, started + self.duration));
        }
        let mut all = Outcomes::default();
        for one in tasks.join_all().await {
            all.accepted.extend(one.accepted);
            all.refused.extend(one.refused);
            all.others.extend(one.others);
        }
        all.accepted.sort_unstable();
        all.refused.sort_unstable();
        all
    }

    async fn run_connection(self, first: Instant, until: Instant) -> Outcomes {
        let mut outcomes = Outcomes::default();
        let mut connection = None;
        let mut due = first;
        while Instant::now().max(due) < until {
            sleep_until(due.into()).await;
            let mut open = match connection.take() {
                Some(open) => open,
                None => RawConnection::open(self.address).await.expect("ingest-api accepts"),
            };
            let sent = Instant::now();
            let response = open.send("POST", self.path, &self.body).await.expect("a response");
            let elapsed = sent.elapsed();
            if !response.close {
                connection = Some(open);
            }
            let body = String::from_utf8_lossy(&response.body);
            match response.status {
                202 => outcomes.accepted.push(elapsed),
                503 if body.contains("\"overloaded\"") => outcomes.refused.push(elapsed),
                status => outcomes.others.push(format!("{status} {body}")),
            }
            // A client that is late does not catch up.
            due = (due + self.interval).max(Instant::now());
        }
        outcomes
    }
}

/// Returns the duration that this share of the sorted durations does not exceed.
pub(super) fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let index = sorted.len() as f64 * share;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let index = (index as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}
