//! The serialized problem document.

use std::borrow::Cow;

use actix_web::http::header::{
    CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use bytes::Bytes;
use serde::Serialize;

use super::{Code, Field, Problem};

const CONTENT_TYPE_PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The members of the document, in the order of serialization.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: Cow<'a, str>,
    instance: String,
    code: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Field],
}

impl Problem {
    /// Serializes the body of the response to the request `request_id`. `type` is the URL of the
    /// section at `errors_url` that explains the code.
    pub(crate) fn write_body(&self, request_id: &str, errors_url: &str) -> Bytes {
        let code = self.inner.code;
        let document = Document {
            r#type: format!("{errors_url}#{}", code.as_str()),
            title: code.title(),
            status: code.status().as_u16(),
            detail: self.detail_text(),
            instance: format!("urn:mayfly:request:{request_id}"),
            code: code.as_str(),
            errors: &self.inner.fields,
        };
        serde_json::to_vec(&document).expect("invariant: strings and numbers are JSON").into()
    }

    /// Returns the explicit detail if there is one, else a detail derived from the first invalid
    /// field, else the default detail of the code.
    fn detail_text(&self) -> Cow<'_, str> {
        match (&self.inner.detail, self.inner.fields.first()) {
            (Some(detail), _) => Cow::Borrowed(detail),
            (None, Some(Field { field, message })) if !field.is_empty() => {
                Cow::Owned(format!("`{field}` {message}."))
            }
            (None, _) => Cow::Borrowed(self.inner.code.detail()),
        }
    }

    /// Writes the headers of the response.
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, CONTENT_TYPE_PROBLEM);
        if self.inner.code.has_retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.inner.code == Code::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        for (name, value) in &self.inner.headers {
            headers.insert(name.clone(), value.clone());
        }
    }
}
