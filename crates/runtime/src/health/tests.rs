//! What follows for the whole from its parts.

use std::time::Duration;

use super::{Health, Need, Status};
use crate::Lifecycle;

fn health() -> (Health, Lifecycle) {
    let lifecycle = Lifecycle::new(Duration::from_secs(1));
    (Health::new(lifecycle.clone()), lifecycle)
}

#[test]
fn a_part_is_down_until_it_was_checked() {
    let (health, _) = health();
    let redis = health.register("redis", Need::Required);
    assert!(!health.is_ready());
    let shown = serde_json::to_string(&health.report()).expect("JSON");
    assert_eq!(
        shown,
        r#"{"status":"unavailable","parts":{"redis":{"status":"down","reason":"not checked yet"}}}"#
    );
    redis.up();
    assert!(health.is_ready());
    let shown = serde_json::to_string(&health.report()).expect("JSON");
    assert_eq!(shown, r#"{"status":"ready","parts":{"redis":{"status":"up"}}}"#);
}

#[test]
fn a_useful_part_that_is_down_degrades_and_a_required_one_is_unavailable() {
    let (health, _) = health();
    let redis = health.register("redis", Need::Required);
    let postgres = health.register("postgres", Need::Useful);
    redis.up();
    postgres.down("no answer");
    assert_eq!(health.report().status, Status::Degraded);
    assert!(health.is_ready());
    redis.down("no answer");
    assert_eq!(health.report().status, Status::Unavailable);
    redis.up();
    postgres.up();
    assert_eq!(health.report().status, Status::Ready);
}

#[test]
fn a_process_that_drains_is_not_ready_whatever_its_parts_say() {
    let (health, lifecycle) = health();
    health.register("redis", Need::Required).up();
    lifecycle.drain();
    assert_eq!(health.report().status, Status::Draining);
    assert!(!health.is_ready());
}

#[test]
fn a_name_registered_again_is_the_same_part() {
    let (health, _) = health();
    health.register("redis", Need::Required);
    health.register("redis", Need::Required).up();
    assert!(health.is_ready());
    assert_eq!(health.report().parts.len(), 1);
}

#[test]
fn a_reason_shows_no_connection_string() {
    let (health, _) = health();
    health.register("redis", Need::Required).down("refused by redis://:hunter2@there");
    let shown = serde_json::to_string(&health.report()).expect("JSON");
    assert!(!shown.contains("hunter2"), "{shown}");
}
