//! Query parameters that several routes share.

use mayfly_core::limits;
use serde::Deserialize;

/// The maximum number of items of a response: 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Limit(u32);

impl Limit {
    /// Returns the number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Limit {
    type Error = &'static str;

    fn try_from(limit: u32) -> Result<Self, &'static str> {
        if (1..=limits::PAGE_ITEMS_MAX).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err("must be 1 to 1000")
        }
    }
}

/// The parameters of an inbox request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboxParameters {
    limit: Option<Limit>,
}

impl InboxParameters {
    /// Returns the limit, or `default` if there is none.
    pub fn limit_or(&self, default: u32) -> u32 {
        self.limit.map_or(default, |limit| limit.0)
    }
}
