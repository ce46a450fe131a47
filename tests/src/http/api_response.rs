//! A complete response of a service.

use reqwest::{RequestBuilder, header::HeaderMap};
use serde_json::Value;

/// A complete HTTP response.
#[derive(Debug, Clone)]
pub struct ApiResponse {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The raw body.
    pub body: Vec<u8>,
}

impl ApiResponse {
    /// Sends a request and reads the whole response.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn send(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the service responds");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("the response is complete").to_vec();
        Self { status, headers, body }
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON, or null if the body is not valid JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Returns the value of a header, or an empty string if the header is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Checks the status and returns the JSON body.
    ///
    /// # Panics
    /// If the response has another status.
    #[track_caller]
    pub fn expect_status(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// Checks that the response is a valid problem with this status and code. Returns the names of
    /// the fields that it reports.
    ///
    /// # Panics
    /// If the response is anything else.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, code: &str) -> Vec<String> {
        let problem = self.expect_status(status);
        assert_eq!(problem["code"], code, "{problem}");
        if let Err(violation) = self.check_problem() {
            panic!("{violation}: {}", self.text());
        }
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Checks that the response is a valid problem according to RFC 9457, that its code matches the
    /// status, and that the required headers are present.
    ///
    /// # Errors
    /// A description of the first violation.
    pub fn check_problem(&self) -> Result<(), String> {
        let problem = self.json();
        let code = problem["code"].as_str().unwrap_or_default();
        let Some((_, status)) = CODES.iter().find(|(known, _)| *known == code) else {
            return Err(format!("`{code}` is not a documented problem code"));
        };
        if *status != self.status || problem["status"] != *status {
            return Err(format!("{code} does not match status {}", self.status));
        }
        if self.header("content-type") != "application/problem+json" {
            return Err("the content type is not application/problem+json".into());
        }
        for member in ["type", "title", "detail", "instance"] {
            if problem[member].as_str().unwrap_or_default().is_empty() {
                return Err(format!("{member} is missing"));
            }
        }
        let required = match self.status {
            405 => "allow",
            429 | 503 => "retry-after",
            401 => "www-authenticate",
            _ => "x-request-id",
        };
        if self.header(required).is_empty() {
            Err(format!("{required} is missing"))
        } else {
            Ok(())
        }
    }
}

/// All problem codes with their statuses.
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
