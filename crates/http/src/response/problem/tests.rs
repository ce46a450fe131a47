//! The problem document and its codes.

use std::{collections::BTreeSet, fmt, time::Duration};

use actix_web::http::header::{HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use mayfly_authenticator::{AuthError, Rejection};
use mayfly_core::{StoreError, StoreErrorKind};
use mayfly_runtime::settings::Rate;

use super::{Code, Problem};

fn body(problem: &Problem) -> serde_json::Value {
    serde_json::from_slice(&problem.write_body("r-1", "/docs/errors")).expect("JSON")
}

#[test]
fn document_has_all_members_and_errors_only_for_invalid_fields() {
    assert_eq!(
        String::from_utf8_lossy(&Problem::new(Code::NotFound).write_body("r-1", "/docs/errors")),
        r#"{"type":"/docs/errors#not_found","title":"Not found","status":404,"detail":"The resource was not found.","instance":"urn:mayfly:request:r-1","code":"not_found"}"#
    );
    let problem =
        Problem::new(Code::InvalidField).detail("Fix it.").field("ttl", "must be an integer");
    assert_eq!(
        body(&problem)["errors"],
        serde_json::json!([{"field": "ttl", "message": "must be an integer"}])
    );
    assert_eq!(body(&problem)["detail"], "Fix it.");
    let problem = Problem::new(Code::InvalidField).field("ttl", "must be an integer");
    assert_eq!(body(&problem)["detail"], "`ttl` must be an integer.");
}

#[test]
fn codes_are_unique_and_have_their_documented_status() {
    let expected = "400 invalid_json 400 invalid_field 400 invalid_cursor 400 upstream_refused 401 unauthorized \
                    403 forbidden 404 not_found 405 method_not_allowed 406 not_acceptable 408 request_timeout \
                    409 inbox_full 413 body_too_large 415 unsupported_media_type 422 idempotency_key_reused \
                    426 upgrade_required 429 rate_limited 500 internal 502 upstream_failed 503 unavailable 503 overloaded";
    let actual: Vec<_> = Code::ALL
        .iter()
        .map(|code| format!("{} {}", code.status().as_u16(), code.as_str()))
        .collect();
    assert_eq!(actual.join(" "), expected);
    let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.len(), Code::ALL.len());
}

#[test]
fn only_the_first_hundred_fields_are_listed() {
    let problem = (0..1000).fold(Problem::new(Code::InvalidField), |problem, n| {
        problem.field(format!("[{n}]"), "bad")
    });
    assert_eq!(body(&problem)["errors"].as_array().map(Vec::len), Some(100));
}

#[test]
fn temporary_errors_have_retry_after() {
    let retry_after = |problem: Problem| {
        let mut headers = HeaderMap::new();
        problem.write_headers(&mut headers);
        headers.get(RETRY_AFTER).map(|value| value.to_str().expect("text").to_owned())
    };
    for code in [Code::RateLimited, Code::Unavailable, Code::Overloaded] {
        assert_eq!(retry_after(Problem::new(code)).as_deref(), Some("1"));
    }
    let problem = Problem::new(Code::RateLimited).retry_after(Duration::from_millis(2001));
    assert_eq!(retry_after(problem).as_deref(), Some("3"));
    assert_eq!(retry_after(Problem::new(Code::NotFound)), None);
}

#[test]
fn cause_is_not_sent() {
    let problem = Problem::new(Code::Internal).caused_by("redis://:hunter2@there");
    assert!(!String::from_utf8_lossy(&problem.write_body("r", "/docs/errors")).contains("hunter2"));
}

/// A store error of any kind.
#[derive(Debug)]
struct FailedCall(StoreErrorKind);

impl fmt::Display for FailedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store failed: {:?}", self.0)
    }
}

impl std::error::Error for FailedCall {}

impl StoreError for FailedCall {
    fn kind(&self) -> StoreErrorKind {
        self.0
    }
}

#[test]
fn store_error_is_503_unless_the_store_rejects_the_request() {
    for (kind, status, code) in [
        (StoreErrorKind::Unavailable, 503, "unavailable"),
        (StoreErrorKind::Timeout, 503, "unavailable"),
        (StoreErrorKind::Overloaded, 503, "overloaded"),
        (StoreErrorKind::Rejected, 500, "internal"),
    ] {
        for problem in
            [Problem::from_store_error(&FailedCall(kind)), Problem::from(FailedCall(kind))]
        {
            assert_eq!((problem.code().status().as_u16(), problem.code().as_str()), (status, code));
            let cause = problem.cause().expect("the log contains the cause").to_string();
            assert_eq!(cause, format!("the store failed: {kind:?}"));
            let body = body(&problem).to_string();
            assert!(!body.contains("the store failed"), "{body}");
        }
    }
}

/// Returns the status, the challenge and the time to wait.
fn describe(error: AuthError) -> (u16, Option<String>, Option<String>) {
    let problem = Problem::from_auth_error(&error);
    let mut headers = HeaderMap::new();
    problem.write_headers(&mut headers);
    let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
    let [challenge, wait] = [WWW_AUTHENTICATE, RETRY_AFTER].map(|name| headers.get(name).map(text));
    (problem.code().status().as_u16(), challenge, wait)
}

#[test]
fn failed_authentication_is_401_429_or_503() {
    assert_eq!(describe(AuthError::Missing), (401, Some("Bearer".to_owned()), None));
    let rejections = [Rejection::Unknown, Rejection::Expired, Rejection::Revoked];
    let problems = rejections.map(|rejection| {
        let error = AuthError::Invalid(rejection);
        let challenge = "Bearer error=\"invalid_token\"".to_owned();
        assert_eq!(describe(error), (401, Some(challenge), None), "{rejection:?}");
        body(&Problem::from_auth_error(&error))
    });
    assert!(problems.iter().all(|problem| *problem == problems[0]), "the reason is not revealed");
    let rate = Rate { items: 60, window: Duration::from_secs(60) };
    let limited = AuthError::RateLimited { retry_after: Duration::from_millis(1_500), rate };
    assert_eq!(describe(limited), (429, None, Some("2".to_owned())));
    for error in [AuthError::NotLoaded, AuthError::Unavailable] {
        assert_eq!(describe(error), (503, None, Some("1".to_owned())), "{error:?}");
    }
}
