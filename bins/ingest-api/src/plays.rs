//! What the handlers need for plays: the way into their queue.

use std::time::Instant;

use mayfly_core::{Clock, Play, SystemClock, play};
use mayfly_hot::{Hot, PlaysAcceptor, PlaysWrite};
use mayfly_http::Problem;
use mayfly_runtime::{Settings, settings::Rate};
use uuid::Uuid;

use crate::{receipt::Receipt, reception::Reception, sender::Sending};

/// What the handlers of one thread need.
pub struct Plays {
    acceptor: PlaysAcceptor,
    clock: Box<dyn Clock>,
    /// What one client may report.
    rate: Option<Rate>,
    reception: Reception,
}

impl Plays {
    /// Opens the way into the queue.
    pub fn new(hot: &Hot, settings: &Settings) -> Self {
        Self {
            acceptor: PlaysAcceptor::open(hot, settings),
            clock: Box::new(SystemClock),
            rate: settings.limits.plays,
            reception: Reception::of("plays"),
        }
    }

    /// Accepts plays, all or none.
    pub async fn accept(&self, plays: &[Play], sending: Sending) -> Result<Receipt, Problem> {
        let began = Instant::now();
        let count = plays.len();
        let enqueued_at = self.clock.now();
        let json = play::Plays { id: Uuid::now_v7(), enqueued_at, plays }.to_json().into();
        let limit = sending.limit(self.rate);
        let write = PlaysWrite { count, json, origin: sending.origin, limit, once: sending.once };
        let outcome = self.acceptor.accept(write).await;
        Ok(self.reception.receive(outcome, count, began)?.into())
    }
}
