//! What the handlers need for visits: the way to where visitors are counted.

use std::time::Instant;

use mayfly_core::Visit;
use mayfly_hot::{Hot, VisitsAcceptor, VisitsWrite};
use mayfly_http::Problem;
use mayfly_runtime::{Settings, settings::Rate};

use crate::{receipt::Receipt, reception::Reception, sender::Sending};

/// What the handlers of one thread need.
pub struct Visits {
    acceptor: VisitsAcceptor,
    /// What one client may send.
    rate: Option<Rate>,
    reception: Reception,
}

impl Visits {
    /// Opens the way into the hot store.
    pub fn new(hot: &Hot, settings: &Settings) -> Self {
        Self {
            acceptor: VisitsAcceptor::open(hot, settings),
            rate: settings.limits.visits,
            reception: Reception::of("visits"),
        }
    }

    /// Accepts visits, all or none.
    pub async fn accept(&self, visits: Vec<Visit>, sending: Sending) -> Result<Receipt, Problem> {
        let began = Instant::now();
        let count = visits.len();
        let write = VisitsWrite { visits, limit: sending.limit(self.rate), once: sending.once };
        let outcome = self.acceptor.accept(write).await;
        Ok(self.reception.receive(outcome, count, began)?.into())
    }
}
