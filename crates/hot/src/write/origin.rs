//! The request ID and trace context of a write.

use mayfly_core::stream::Meta;

/// The request ID and trace context of a write, which are stored in each of its stream entries.
#[derive(Debug, Clone)]
pub struct Origin(String);

impl Origin {
    /// Formats the request ID and trace context of a request.
    #[must_use]
    pub fn new(request_id: &str, traceparent: &str) -> Self {
        Self(Meta::format_origin(request_id, traceparent))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
