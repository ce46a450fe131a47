//! Tests for the status of a process, which depends on the state of its components.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;

use super::{Criticality, Health, HealthStatus};
use crate::Lifecycle;

fn health() -> (Health, Lifecycle) {
    let lifecycle = Lifecycle::new(Duration::from_secs(1));
    (Health::new(lifecycle.clone()), lifecycle)
}

#[test]
fn component_is_down_until_checked() {
    let (health, _) = health();
    let redis = health.register("redis", Criticality::Required);
    assert!(!health.is_ready());
    let json = serde_json::to_string(&health.report()).expect("JSON");
    assert_eq!(
        json,
        r#"{"status":"unavailable","parts":{"redis":{"status":"down","reason":"not checked yet"}}}"#
    );
    redis.mark_up();
    assert!(health.is_ready());
    let json = serde_json::to_string(&health.report()).expect("JSON");
    assert_eq!(json, r#"{"status":"ready","parts":{"redis":{"status":"up"}}}"#);
}

#[test]
fn optional_component_degrades_and_required_component_makes_unavailable() {
    let (health, _) = health();
    let redis = health.register("redis", Criticality::Required);
    let postgres = health.register("postgres", Criticality::Optional);
    redis.mark_up();
    postgres.mark_down("no answer");
    assert_eq!(health.report().status, HealthStatus::Degraded);
    assert!(health.is_ready());
    redis.mark_down("no answer");
    assert_eq!(health.report().status, HealthStatus::Unavailable);
    redis.mark_up();
    postgres.mark_up();
    assert_eq!(health.report().status, HealthStatus::Ready);
}

#[test]
fn every_component_is_exported_as_a_metric() {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        let (health, _) = health();
        health.register("schema", Criticality::Required);
        health.register("redis", Criticality::Required).mark_up();
        let s3 = health.register("s3", Criticality::Optional);
        s3.mark_up();
        s3.mark_down("no answer");
    });
    let rendered = recorder.handle().render();
    for line in [
        r#"mayfly_component_up{component="schema",required="true"} 0"#,
        r#"mayfly_component_up{component="redis",required="true"} 1"#,
        r#"mayfly_component_up{component="s3",required="false"} 0"#,
    ] {
        assert!(rendered.lines().any(|rendered| rendered == line), "{line}: {rendered}");
    }
}

#[test]
fn draining_process_is_not_ready() {
    let (health, lifecycle) = health();
    health.register("redis", Criticality::Required).mark_up();
    lifecycle.drain();
    assert_eq!(health.report().status, HealthStatus::Draining);
    assert!(!health.is_ready());
}

#[test]
fn registering_a_name_again_returns_the_same_component() {
    let (health, _) = health();
    health.register("redis", Criticality::Required);
    health.register("redis", Criticality::Required).mark_up();
    assert!(health.is_ready());
    assert_eq!(health.report().components.len(), 1);
}

#[test]
fn reason_contains_no_connection_string() {
    let (health, _) = health();
    health.register("redis", Criticality::Required).mark_down("refused by redis://:hunter2@there");
    let json = serde_json::to_string(&health.report()).expect("JSON");
    assert!(!json.contains("hunter2"), "{json}");
}
