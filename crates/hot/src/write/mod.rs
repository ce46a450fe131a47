//! Parts that the accepting scripts of messages, plays and visits have in common.

mod admission;
mod idempotency;
mod origin;
mod outcome;

pub use self::{
    admission::{ClientLimit, RateLimitStatus},
    idempotency::IdempotentRequest,
    origin::Origin,
    outcome::{Capacity, WriteOutcome},
};
pub(crate) use self::{
    admission::{add_admission, request_header},
    idempotency::StoredOutcome,
};
