//! What the handlers need for visits: the way to where visitors are counted.

use std::time::Instant;

use mayfly_core::Visit;
use mayfly_hot::{Hot, VisitsAcceptance, VisitsAcceptor, VisitsWrite};
use mayfly_http::Problem;
use mayfly_runtime::{Settings, metrics as names, settings::Rate};
use metrics::{Counter, Histogram};

use crate::{
    problems,
    receipt::{Receipt, rate_limit},
    sender::Sending,
};

/// What is counted, as the headers of the limit name it.
const POLICY: &str = "visits";

/// What the handlers of one thread need.
pub struct Visits {
    acceptor: VisitsAcceptor,
    /// What one client may send.
    rate: Option<Rate>,
    accepted_total: Counter,
    accept_seconds: Histogram,
}

impl Visits {
    /// Opens the way into the hot store.
    pub fn new(hot: &Hot, settings: &Settings) -> Self {
        Self {
            acceptor: VisitsAcceptor::open(hot, settings),
            rate: settings.limits.visits,
            accepted_total: metrics::counter!(names::ACCEPTED_TOTAL, "kind" => "visits"),
            accept_seconds: metrics::histogram!(names::ACCEPT_SECONDS),
        }
    }

    /// Accepts visits, all or none.
    pub async fn accept(&self, visits: Vec<Visit>, sending: Sending) -> Result<Receipt, Problem> {
        let started = Instant::now();
        let count = visits.len();
        let write = VisitsWrite { visits, limit: sending.limit(self.rate), once: sending.once };
        match self.acceptor.accept(write).await {
            Ok(VisitsAcceptance::Accepted(left)) => {
                self.accepted_total.increment(count as u64);
                self.accept_seconds.record(started.elapsed());
                Ok(Receipt::New(left.map(|left| rate_limit(POLICY, left))))
            }
            Ok(VisitsAcceptance::AcceptedBefore) => Ok(Receipt::Replayed),
            Ok(VisitsAcceptance::KeyReused) => Err(problems::key_reused()),
            Ok(VisitsAcceptance::LimitReached(left)) => Err(rate_limit(POLICY, left).refuse(count)),
            Ok(VisitsAcceptance::PagesFull) => Err(problems::pages_full()),
            Ok(VisitsAcceptance::HostsFull) => Err(problems::hosts_full()),
            Err(error) => Err(problems::of_hot(&error)),
        }
    }
}
