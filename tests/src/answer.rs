//! What a service answers, read whole.

use reqwest::{RequestBuilder, header::HeaderMap};
use serde_json::Value;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// Sends a request and reads the answer.
    ///
    /// # Panics
    /// When there is none.
    pub async fn of(request: RequestBuilder) -> Self {
        let answer = request.send().await.expect("the service answers");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.expect("the answer ends").to_vec();
        Self { status, headers, body }
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A header; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The JSON of an answer with this status.
    ///
    /// # Panics
    /// When it has another.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// The problem with this status and code; the names of the fields that it finds wrong.
    ///
    /// # Panics
    /// When it is no such problem.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, code: &str) -> Vec<String> {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{problem}");
        if let Err(wrong) = self.check_problem() {
            panic!("{wrong}: {}", self.text());
        }
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Whether this is a problem in the form of RFC 9457, with a code that goes with its status
    /// and the headers that go with both.
    ///
    /// # Errors
    /// What is missing.
    pub fn check_problem(&self) -> Result<(), String> {
        let problem = self.json();
        let code = problem["code"].as_str().unwrap_or_default();
        let Some((_, status)) = CODES.iter().find(|(known, _)| *known == code) else {
            return Err(format!("`{code}` is no code of the contract"));
        };
        if *status != self.status || problem["status"] != *status {
            return Err(format!("{code} does not go with {}", self.status));
        }
        if self.header("content-type") != "application/problem+json" {
            return Err("it does not say that it is a problem".into());
        }
        for member in ["type", "title", "detail", "instance"] {
            if problem[member].as_str().unwrap_or_default().is_empty() {
                return Err(format!("{member} is missing"));
            }
        }
        let wanted = match self.status {
            405 => "allow",
            429 | 503 => "retry-after",
            401 => "www-authenticate",
            _ => "x-request-id",
        };
        if self.header(wanted).is_empty() { Err(format!("{wanted} is missing")) } else { Ok(()) }
    }
}

/// The codes of the contract.
const CODES: [(&str, u16); 19] = [
    ("invalid_json", 400),
    ("invalid_field", 400),
    ("invalid_cursor", 400),
    ("upstream_refused", 400),
    ("unauthorized", 401),
    ("forbidden", 403),
    ("not_found", 404),
    ("method_not_allowed", 405),
    ("not_acceptable", 406),
    ("request_timeout", 408),
    ("inbox_full", 409),
    ("body_too_large", 413),
    ("unsupported_media_type", 415),
    ("idempotency_key_reused", 422),
    ("rate_limited", 429),
    ("internal", 500),
    ("upstream_failed", 502),
    ("unavailable", 503),
    ("overloaded", 503),
];
