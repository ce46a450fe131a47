//! What `deploy`, `k8s` and the documents name is there.

use std::{collections::BTreeSet, fs, path::PathBuf};

use mayfly_hot::{Keys, Stream};
use mayfly_runtime::metrics::METRICS;

use super::{all_keys, names_of_keys, root};

#[test]
fn the_example_environment_and_the_table_of_keys_are_those_of_the_command() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("the file is there");
    assert!(
        read("deploy/mayfly.env.example") == mayfly_runtime::env_example(),
        "write it anew: mayfly config env > deploy/mayfly.env.example"
    );
    let operations = read("docs/OPERATIONS.md");
    let (_, behind) =
        operations.split_once("## Configuration keys\n\n").expect("the section is there");
    let table = behind.split_once("\n\n").map_or(behind, |(table, _)| table);
    assert!(
        table.trim_end() == mayfly_runtime::key_table().trim_end(),
        "put the table of `mayfly config table` under \"Configuration keys\" of docs/OPERATIONS.md"
    );
}

#[test]
fn every_environment_name_of_the_deployment_is_a_key_that_is_read() {
    let keys = all_keys();
    let mut seen = 0;
    for path in deployed_files() {
        let text = fs::read_to_string(&path).expect("it is text");
        for name in names_of_keys(&text) {
            assert!(
                keys.contains(name.trim_end_matches('_')) || name.ends_with("__"),
                "{}: {name}",
                path.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} names were looked at");
}

/// Every metric that rules, dashboard and autoscaling look at exists, and every one that exists is explained.
#[test]
fn metrics_are_those_of_the_code_wherever_they_are_named() {
    let metrics: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let operations = fs::read_to_string(root().join("docs/OPERATIONS.md")).expect("it is there");
    for name in &metrics {
        assert!(
            operations.contains(&format!("`{name}`")) || operations.contains(&format!("`{name}{{")),
            "docs/OPERATIONS.md does not explain {name}"
        );
    }
    let mut seen = BTreeSet::new();
    for path in deployed_files().into_iter().chain([root().join("docs/OPERATIONS.md")]) {
        let text = fs::read_to_string(&path).expect("it is text");
        for name in
            text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        {
            let Some(rest) = name.strip_prefix("mayfly_") else { continue };
            // Recording rules have colons; the name of their first part is none of ours.
            let plain = ["_bucket", "_sum", "_count"]
                .into_iter()
                .find_map(|suffix| name.strip_suffix(suffix).filter(|name| metrics.contains(name)))
                .unwrap_or(name);
            assert!(metrics.contains(plain), "{}: mayfly_{rest} is no metric", path.display());
            seen.insert(plain.to_owned());
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
}

/// Every alert is explained, and has a case in which it fires.
#[test]
fn alerts_are_explained_and_tried() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("the file is there");
    let (rules, cases) =
        (read("deploy/prometheus/rules.yml"), read("deploy/prometheus/rules.test.yml"));
    let operations = read("docs/OPERATIONS.md");
    let alerts: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    for alert in alerts {
        assert!(operations.contains(&format!("`{alert}`")), "docs/OPERATIONS.md: {alert}?");
        assert!(cases.contains(alert), "no case for {alert}");
    }
}

/// The streams that workers are scaled by are those that they read.
#[test]
fn workers_are_scaled_by_their_queues() {
    let worker = fs::read_to_string(root().join("k8s/base/persist-worker.yaml")).expect("there");
    let keys = Keys::new("mayfly");
    for (key, stream) in [(keys.messages(), Stream::Messages), (keys.plays(), Stream::Plays)] {
        let trigger = format!("stream: \"{key}\"\n        consumerGroup: {}\n", stream.group());
        assert_eq!(worker.matches(&trigger).count(), 1, "{trigger}");
    }
}

#[test]
fn images_are_those_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let mut seen = 0;
    for path in deployed_files() {
        let text = fs::read_to_string(&path).expect("it is text");
        for mark in ["image: mayfly/", "name: mayfly/", "-t mayfly/", "image.version=\""] {
            for found in text.lines().filter(|line| line.contains(mark)) {
                assert!(found.contains(version), "{}: {found}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "{seen} images were looked at");
}

/// What is in `deploy` and `k8s`.
fn deployed_files() -> Vec<PathBuf> {
    let mut directories = vec![root().join("deploy"), root().join("k8s")];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() && !path.ends_with("__pycache__") {
                directories.push(path);
            } else if path.is_file() {
                files.push(path);
            }
        }
    }
    files
}
