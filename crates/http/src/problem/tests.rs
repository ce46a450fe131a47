//! What a problem looks like, code by code.

use std::{collections::BTreeSet, time::Duration};

use actix_web::http::header::{HeaderMap, RETRY_AFTER};

use super::{Code, Problem};

fn body(problem: &Problem) -> serde_json::Value {
    serde_json::from_slice(&problem.write_body("r-1")).expect("JSON")
}

#[test]
fn a_problem_has_all_members_and_errors_only_where_fields_are_wrong() {
    assert_eq!(
        String::from_utf8_lossy(&Problem::new(Code::NotFound).write_body("r-1")),
        r#"{"type":"urn:mayfly:problem:not_found","title":"Not found","status":404,"detail":"There is no such thing.","instance":"urn:mayfly:request:r-1","code":"not_found"}"#
    );
    let problem = Problem::new(Code::InvalidField).detail("No.").field("ttl", "must be whole");
    assert_eq!(
        body(&problem)["errors"],
        serde_json::json!([{"field": "ttl", "message": "must be whole"}])
    );
    assert_eq!(body(&problem)["detail"], "No.");
}

#[test]
fn every_code_has_a_name_of_its_own_and_the_status_of_the_contract() {
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
fn only_the_first_hundred_fields_are_kept() {
    let problem = (0..1000).fold(Problem::new(Code::InvalidField), |problem, n| {
        problem.field(format!("[{n}]"), "bad")
    });
    assert_eq!(body(&problem)["errors"].as_array().map(Vec::len), Some(100));
}

#[test]
fn what_is_busy_says_when_to_come_back() {
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
fn a_cause_is_in_no_answer() {
    let problem = Problem::new(Code::Internal).caused_by("redis://:hunter2@there");
    assert!(!String::from_utf8_lossy(&problem.write_body("r")).contains("hunter2"));
}
