//! Query parameters that several routes share.

use mayfly_core::limits;
use mayfly_http::Integer;
use serde::Deserialize;

/// The maximum number of items in a response.
pub type Limit = Integer<1, { limits::PAGE_ITEMS_MAX }>;

/// The parameters of an inbox request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboxParameters {
    limit: Option<Limit>,
}

impl InboxParameters {
    /// Returns the limit, or `default` if there is none.
    pub fn limit_or(&self, default: u32) -> u32 {
        self.limit.map_or(default, Limit::get)
    }
}
