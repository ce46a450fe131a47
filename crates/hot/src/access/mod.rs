//! API keys and token revocations. Postgres stores both; Redis mirrors them, so that a check of
//! credentials reads only Redis.

mod api_keys;
mod auth_failures;
mod mirror;
mod revocations;
mod versions;

pub(crate) use api_keys::FORMAT as API_KEYS_FORMAT;
pub use api_keys::{ApiKeyState, ApiKeys};
pub use auth_failures::{AuthFailures, FailureWindow};
pub use mirror::MirrorReload;
pub use revocations::{RevocableToken, RevocationState, TokenRevocations};
pub use versions::AccessVersions;
