//! What the handlers need for plays: the way into their queue.

use std::time::Instant;

use mayfly_core::{Clock, Play, SystemClock, play};
use mayfly_hot::{Hot, PlaysAcceptance, PlaysAcceptor, PlaysWrite};
use mayfly_http::Problem;
use mayfly_runtime::{Settings, metrics as names, settings::Rate};
use metrics::{Counter, Histogram};
use uuid::Uuid;

use crate::{
    problems,
    receipt::{Receipt, rate_limit},
    sender::Sending,
};

/// What is counted, as the headers of the limit name it.
const POLICY: &str = "plays";

/// What the handlers of one thread need.
pub struct Plays {
    acceptor: PlaysAcceptor,
    clock: Box<dyn Clock>,
    /// What one client may report.
    rate: Option<Rate>,
    accepted_total: Counter,
    accept_seconds: Histogram,
}

impl Plays {
    /// Opens the way into the queue.
    pub fn new(hot: &Hot, settings: &Settings) -> Self {
        Self {
            acceptor: PlaysAcceptor::open(hot, settings),
            clock: Box::new(SystemClock),
            rate: settings.limits.plays,
            accepted_total: metrics::counter!(names::ACCEPTED_TOTAL, "kind" => "plays"),
            accept_seconds: metrics::histogram!(names::ACCEPT_SECONDS),
        }
    }

    /// Accepts plays, all or none.
    pub async fn accept(&self, plays: &[Play], sending: Sending) -> Result<Receipt, Problem> {
        let started = Instant::now();
        let count = plays.len();
        let enqueued_at = self.clock.now();
        let json = play::Plays { id: Uuid::now_v7(), enqueued_at, plays }.to_json().into();
        let limit = sending.limit(self.rate);
        let write = PlaysWrite { count, json, origin: sending.origin, limit, once: sending.once };
        match self.acceptor.accept(write).await {
            Ok(PlaysAcceptance::Accepted(left)) => {
                self.accepted_total.increment(count as u64);
                self.accept_seconds.record(started.elapsed());
                Ok(Receipt::New(left.map(|left| rate_limit(POLICY, left))))
            }
            Ok(PlaysAcceptance::AcceptedBefore) => Ok(Receipt::Replayed),
            Ok(PlaysAcceptance::KeyReused) => Err(problems::key_reused()),
            Ok(PlaysAcceptance::LimitReached(left)) => Err(rate_limit(POLICY, left).refuse(count)),
            Ok(PlaysAcceptance::QueueFull) => Err(problems::queue_full("plays", "counted")),
            Err(error) => Err(problems::of_hot(&error)),
        }
    }
}
