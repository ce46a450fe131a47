//! Authentication of callers by API keys and tokens.
//!
//! [`Authenticator`] determines the identity of a caller. It verifies tokens itself, and reads keys
//! and revocations from Redis. A process caches the credentials that it has accepted. It reads the
//! versions of the keys and revocations every 250 ms, and checks the cached credentials again after
//! a change. If Redis does not return the versions for a second, the process does not use the
//! cache, so no process accepts revoked credentials for longer than that.

mod authenticator;
mod cache;
mod error;
mod failures;
pub mod metrics;
mod token_keys;
mod versions;

pub use self::{
    authenticator::Authenticator,
    error::{AuthError, Rejection},
    versions::Generation,
};
