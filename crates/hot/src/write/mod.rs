//! Parts that the accepting scripts of messages, plays and visits have in common.

mod idempotency;
mod origin;
mod outcome;
mod rate_limit;

pub use self::{
    idempotency::IdempotentRequest,
    origin::Origin,
    outcome::{Capacity, WriteOutcome},
    rate_limit::{ClientLimit, RateLimitStatus},
};
pub(crate) use self::{
    idempotency::StoredOutcome,
    rate_limit::{add_client_arguments, request_header},
};
