//! The parts that writes of messages, plays and visits share: rate limits, idempotency keys,
//! outcomes and totals.

mod accepted_totals;
mod exhausted_clients;
mod idempotency;
mod origin;
mod outcome;
mod rate_limit;

pub(crate) use self::{
    accepted_totals::{AcceptedTotals, EndedEpoch},
    idempotency::StoredOutcome,
    rate_limit::{add_client_arguments, request_header},
};
pub use self::{
    exhausted_clients::ExhaustedClients,
    idempotency::IdempotentRequest,
    origin::Origin,
    outcome::{Capacity, WriteOutcome},
    rate_limit::{ClientLimit, RateLimitStatus},
};
