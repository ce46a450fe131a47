//! What is done alike around every write: it is measured, and what was not taken is said in the words of problems.

use std::time::Instant;

use mayfly_hot::{Acceptance, Allowance, HotError};
use mayfly_http::{Problem, RateLimit};
use mayfly_runtime::metrics as names;
use metrics::{Counter, Histogram};

use crate::problems;

/// Receives what became of writes of one kind of items.
pub struct Reception {
    /// `messages`, `plays` or `visits`: what is counted, and what the headers of the limit name.
    kind: &'static str,
    accepted_total: Counter,
    accept_seconds: Histogram,
}

/// What became of a write that was not refused.
pub enum Written<B> {
    /// It was done now; what is left, if there is a limit.
    Now(Option<RateLimit>),
    /// It had been done before, as this.
    Before(B),
}

impl Reception {
    /// For one kind of items.
    pub fn of(kind: &'static str) -> Self {
        Self {
            kind,
            accepted_total: metrics::counter!(names::ACCEPTED_TOTAL, "kind" => kind),
            accept_seconds: metrics::histogram!(names::ACCEPT_SECONDS),
        }
    }

    /// Says what became of a request with so many items, which was begun then.
    pub fn receive<B>(
        &self,
        outcome: Result<Acceptance<B>, HotError>,
        items: usize,
        began: Instant,
    ) -> Result<Written<B>, Problem> {
        match outcome.map_err(|error| problems::of_hot(&error))? {
            Acceptance::Accepted(left) => {
                self.accepted_total.increment(items as u64);
                self.accept_seconds.record(began.elapsed());
                Ok(Written::Now(left.map(|left| self.rate_limit(left))))
            }
            Acceptance::AcceptedBefore(before) => Ok(Written::Before(before)),
            Acceptance::Unreadable => Err(problems::unreadable()),
            Acceptance::KeyReused => Err(problems::key_reused()),
            Acceptance::LimitReached(left) => Err(self.rate_limit(left).refuse(items)),
            Acceptance::Full(full) => Err(problems::full(full, self.kind)),
        }
    }

    /// How a client stands against its limit.
    fn rate_limit(&self, left: Allowance) -> RateLimit {
        let Allowance { rate, remaining, resets_in } = left;
        RateLimit { policy: self.kind, rate, remaining, resets_in }
    }
}
