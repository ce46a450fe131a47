//! Errors as callers see them: `application/problem+json` of RFC 9457.

mod code;
mod document;
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

pub use self::code::Code;

/// Fields named in one problem; a batch of a thousand bad items says it of the first hundred.
const FIELDS_MAX: usize = 100;

/// One problem with one request.
///
/// The middleware writes it out, since only there the id of the request is known.
#[derive(Debug)]
pub struct Problem {
    /// Boxed, so that a `Result` with it stays small.
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: Option<Cow<'static, str>>,
    fields: Vec<Field>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log only.
    cause: Option<String>,
}

#[derive(Debug, serde::Serialize)]
struct Field {
    field: String,
    message: String,
}

impl Problem {
    /// Makes a problem that says what its code says.
    pub fn new(code: Code) -> Self {
        let inner =
            Inner { code, detail: None, fields: Vec::new(), headers: Vec::new(), cause: None };
        Self { inner: Box::new(inner) }
    }

    /// Says more exactly what is wrong. Callers see it: nothing of the inside.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.inner.detail = Some(detail.into());
        self
    }

    /// Names a field and what is wrong with it. Only the first hundred are kept.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        if self.inner.fields.len() < FIELDS_MAX {
            self.inner.fields.push(Field { field: field.into(), message: message.into() });
        }
        self
    }

    /// Says when to come back, rounded up to seconds.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds_up(wait)))
    }

    /// Names the methods there are, as `GET, HEAD, OPTIONS`.
    #[must_use]
    pub fn allow(self, methods: &str) -> Self {
        match HeaderValue::from_str(methods) {
            Ok(methods) => self.header(ALLOW, methods),
            Err(_) => self,
        }
    }

    /// Adds a header to the answer, in place of one of that name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.inner.headers.retain(|(other, _)| *other != name);
        self.inner.headers.push((name, value));
        self
    }

    /// Keeps what went wrong inside. It stands in the log beside the id of the request, and in no answer.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.inner.cause = Some(cause.to_string());
        self
    }

    /// What is wrong, in a word.
    pub fn code(&self) -> Code {
        self.inner.code
    }

    /// What is wrong in one sentence: the first field and its rule, where fields are wrong.
    pub fn sentence(&self) -> String {
        match self.inner.fields.first() {
            Some(wrong) => format!("{} {}", wrong.field, wrong.message),
            None => self.inner.detail.as_deref().unwrap_or(self.inner.code.title()).to_owned(),
        }
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.inner.cause.as_deref()
    }
}

/// Whole seconds, rounded up, at least one.
pub(crate) fn seconds_up(wait: Duration) -> u64 {
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

    /// The status alone: the middleware replaces the answer by the whole document.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}
