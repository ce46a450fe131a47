//! Responses: problems, rate-limit headers, compression.

pub(crate) mod encoding;
mod problem;
mod rate_limit;

pub(crate) use self::problem::{ERRORS_PATH, render_error_page};
pub use self::{
    problem::{Code, Problem},
    rate_limit::RateLimit,
};
