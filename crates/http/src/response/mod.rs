//! Responses: problems, rate-limit headers, content negotiation, compression, and pages for
//! browsers.

pub(crate) mod accept;
pub(crate) mod browsable;
pub(crate) mod encoding;
mod paced_body;
mod problem;
mod rate_limit;

pub(crate) use self::{
    paced_body::{PacedBody, SharedBody},
    problem::{errors_url, render_error_page},
};
pub use self::{
    problem::{Code, Problem},
    rate_limit::RateLimit,
};
