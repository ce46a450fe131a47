//! The origin of a write.

use mayfly_core::stream::Meta;

/// The request ID and trace context of a write, which are stored with its stream entry.
#[derive(Debug, Clone)]
pub struct Origin(String);

impl Origin {
    /// Creates the origin of a request.
    #[must_use]
    pub fn new(request_id: &str, traceparent: &str) -> Self {
        Self(Meta::format_origin(request_id, traceparent))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
