//! Error responses: `application/problem+json` (RFC 9457).

mod authentication;
mod code;
mod document;
mod documentation;
mod store;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER},
    },
};
use mayfly_core::limits;

pub use self::code::Code;
pub(crate) use self::documentation::{errors_url, render_error_page};

/// An error response.
///
/// The middleware serializes the problem and adds the request ID.
#[derive(Debug)]
pub struct Problem {
    /// Boxed to keep `Result<_, Problem>` small.
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: Option<Cow<'static, str>>,
    fields: Vec<Field>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The internal cause, for the log only.
    cause: Option<String>,
}

#[derive(Debug, serde::Serialize)]
struct Field {
    field: String,
    message: String,
}

impl Problem {
    /// Creates a problem with the default detail of its code.
    pub fn new(code: Code) -> Self {
        let inner =
            Inner { code, detail: None, fields: Vec::new(), headers: Vec::new(), cause: None };
        Self { inner: Box::new(inner) }
    }

    /// Sets the detail: what is wrong and what is expected. The detail is sent to clients, so it
    /// must not contain internal information.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.inner.detail = Some(detail.into());
        self
    }

    /// Adds an invalid field and its rule, such as `must be an integer`. A problem keeps at most
    /// [`limits::FIELD_ERRORS_MAX`] fields.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        if self.inner.fields.len() < limits::FIELD_ERRORS_MAX {
            self.inner.fields.push(Field { field: field.into(), message: message.into() });
        }
        self
    }

    /// Sets `Retry-After`, rounded up to whole seconds, at least 1.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(to_seconds_ceil(wait)))
    }

    /// Sets `Allow` to the supported methods, such as `GET, HEAD, OPTIONS`.
    #[must_use]
    pub fn allow(self, methods: &str) -> Self {
        match HeaderValue::from_str(methods) {
            Ok(methods) => self.header(ALLOW, methods),
            Err(_) => self,
        }
    }

    /// Sets a header of the response.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.inner.headers.retain(|(other, _)| *other != name);
        self.inner.headers.push((name, value));
        self
    }

    /// Sets the internal cause, which is logged with the request ID and never sent to the client.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.inner.cause = Some(cause.to_string());
        self
    }

    /// Returns the code.
    pub fn code(&self) -> Code {
        self.inner.code
    }

    /// Returns a one-line summary: the first invalid field and its rule if a field is invalid, else
    /// the detail, else the title.
    pub fn summary(&self) -> String {
        match self.inner.fields.first() {
            Some(Field { field, message }) => format!("{field} {message}"),
            None => self.inner.detail.as_deref().unwrap_or(self.inner.code.title()).to_owned(),
        }
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.inner.cause.as_deref()
    }
}

/// Converts a duration to whole seconds, rounded up, at least 1.
pub(crate) fn to_seconds_ceil(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.inner.code.as_str())
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.inner.code.status()
    }

    /// Returns an empty response, which the middleware replaces with the problem document.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}
