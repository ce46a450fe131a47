//! A problem as it goes over the wire.

use actix_web::http::header::{
    CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use bytes::Bytes;
use serde::Serialize;

use super::{Code, Field, Problem};

const CONTENT_TYPE_PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The members in the order in which people read them.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: String,
    code: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Field],
}

impl Problem {
    /// Writes the body of the answer to the request of that id.
    pub(crate) fn write_body(&self, request_id: &str) -> Bytes {
        let code = self.inner.code;
        let document = Document {
            r#type: format!("urn:mayfly:problem:{}", code.as_str()),
            title: code.title(),
            status: code.status().as_u16(),
            detail: self.inner.detail.as_deref().unwrap_or(code.detail()),
            instance: format!("urn:mayfly:request:{request_id}"),
            code: code.as_str(),
            errors: &self.inner.fields,
        };
        serde_json::to_vec(&document).expect("invariant: strings and numbers are JSON").into()
    }

    /// Writes the headers of the answer.
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, CONTENT_TYPE_PROBLEM);
        if self.inner.code.wants_retry_after() {
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
