//! Converts write outcomes to responses and problems, and records metrics.

use std::time::Instant;

use mayfly_hot::{HotError, WriteOutcome};
use mayfly_http::Problem;
use metrics::{Counter, Histogram};

use crate::{
    metrics as names, problems, rate_limits::to_rate_limit, write_response::WriteResponse,
};

/// A mapper from write outcomes to responses, for one kind of item.
pub struct OutcomeMapper {
    /// `messages`, `plays` or `visits`: the value of the `kind` label, and the name of the rate
    /// limit policy.
    kind: &'static str,
    accepted_total: Counter,
    accept_duration: Histogram,
}

impl OutcomeMapper {
    /// Creates a mapper for one kind of item.
    pub fn new(kind: &'static str) -> Self {
        Self {
            kind,
            accepted_total: metrics::counter!(names::ACCEPTED_TOTAL, "kind" => kind),
            accept_duration: metrics::histogram!(names::ACCEPT_DURATION_SECONDS),
        }
    }

    /// Maps the outcome of a write of `items` items to a response or a problem. If the write was
    /// accepted, records metrics, with `started` as the start of the write.
    pub fn map<R>(
        &self,
        outcome: Result<WriteOutcome<R>, HotError>,
        items: usize,
        started: Instant,
    ) -> Result<WriteResponse<R>, Problem> {
        match outcome? {
            WriteOutcome::Accepted(allowance) => {
                self.accepted_total.increment(items as u64);
                self.accept_duration.record(started.elapsed());
                let limit = allowance.map(|status| to_rate_limit(self.kind, status));
                Ok(WriteResponse::New(limit))
            }
            WriteOutcome::Replayed(write) => Ok(WriteResponse::Replayed(write)),
            WriteOutcome::UnknownRecordFormat => Err(problems::unknown_record_format()),
            WriteOutcome::KeyReused => Err(problems::key_reused()),
            WriteOutcome::RateLimited(status) => {
                Err(to_rate_limit(self.kind, status).to_problem(items))
            }
            WriteOutcome::CapacityExceeded(capacity) => {
                Err(problems::capacity_exceeded(capacity, self.kind))
            }
            WriteOutcome::UnreadableKey { key, error } => {
                Err(problems::unreadable_key(&key, &error))
            }
        }
    }
}
