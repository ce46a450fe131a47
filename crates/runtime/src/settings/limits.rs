//! `[limits]`: what one client may send.

use serde::Deserialize;

use super::rate::{self, Rate};

/// How much one client may send in a window; none is without a limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Messages.
    #[serde(deserialize_with = "rate::or_off")]
    pub messages: Option<Rate>,
    /// Plays.
    #[serde(deserialize_with = "rate::or_off")]
    pub plays: Option<Rate>,
    /// Visits.
    #[serde(deserialize_with = "rate::or_off")]
    pub visits: Option<Rate>,
}
