//! `[limits]`: rate limits per client.

use serde::Deserialize;

use crate::settings::values::rate::{self, Rate};

/// Rate limits per client; `None` disables a limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSettings {
    /// The rate limit for messages.
    #[serde(deserialize_with = "rate::or_off")]
    pub messages: Option<Rate>,
    /// The rate limit for plays.
    #[serde(deserialize_with = "rate::or_off")]
    pub plays: Option<Rate>,
    /// The rate limit for visits.
    #[serde(deserialize_with = "rate::or_off")]
    pub visits: Option<Rate>,
    /// The rate limit for failed authentications.
    #[serde(deserialize_with = "rate::or_off")]
    pub auth_failures: Option<Rate>,
}
