//! Names in `deploy`, `k8s` and the operations guide exist in the code.

use std::{collections::BTreeSet, fs, path::PathBuf};

use mayfly_hot::{Keys, Stream};
use mayfly_runtime::Service;
use mayfly_tests::exported_metrics;

use super::{configuration_keys, find_key_names, root};

#[test]
fn generated_configuration_files_are_up_to_date() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("the file exists");
    assert!(
        read("deploy/mayfly.env.example") == mayfly_runtime::render_env_example(),
        "outdated; run: mayfly config env > deploy/mayfly.env.example"
    );
    let operations = read("docs/OPERATIONS.md");
    let (_, after) =
        operations.split_once("## Configuration keys\n\n").expect("the section exists");
    let table = after.split_once("\n\n").map_or(after, |(table, _)| table);
    assert!(
        table.trim_end() == mayfly_runtime::render_key_table().trim_end(),
        "outdated; copy the output of `mayfly config table` to \"Configuration keys\" in docs/OPERATIONS.md"
    );
}

#[test]
fn configuration_keys_in_the_deployment_exist() {
    let keys = configuration_keys();
    let mut found = 0;
    for path in deployed_files() {
        let text = fs::read_to_string(&path).expect("valid UTF-8");
        for name in find_key_names(&text) {
            assert!(
                keys.contains(name.trim_end_matches('_')) || name.ends_with("__"),
                "{}: {name}",
                path.display()
            );
            found += 1;
        }
    }
    assert!(found > 20, "only {found} names found");
}

/// Every metric that the rules, the dashboard and autoscaling use exists, and every metric is
/// documented.
#[test]
fn metrics_exist_and_are_documented() {
    let exported = Service::ALL.into_iter().flat_map(exported_metrics);
    let metrics: BTreeSet<&str> = exported.map(|metric| metric.name).collect();
    let operations =
        fs::read_to_string(root().join("docs/OPERATIONS.md")).expect("the file exists");
    for name in &metrics {
        assert!(
            operations.contains(&format!("`{name}`")) || operations.contains(&format!("`{name}{{")),
            "docs/OPERATIONS.md does not document {name}"
        );
    }
    let mut found = BTreeSet::new();
    for path in deployed_files().into_iter().chain([root().join("docs/OPERATIONS.md")]) {
        let text = fs::read_to_string(&path).expect("valid UTF-8");
        for name in
            text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        {
            // Recording rules have names with colons (`mayfly:…`) and lack this prefix.
            let Some(rest) = name.strip_prefix("mayfly_") else { continue };
            let plain = ["_bucket", "_sum", "_count"]
                .into_iter()
                .find_map(|suffix| name.strip_suffix(suffix).filter(|name| metrics.contains(name)))
                .unwrap_or(name);
            assert!(metrics.contains(plain), "{}: mayfly_{rest} is not a metric", path.display());
            found.insert(plain.to_owned());
        }
    }
    assert!(found.len() > 20, "{found:?}");
}

/// Every query of the dashboard uses the variable `namespace`, which separates installations.
#[test]
fn every_dashboard_query_selects_the_namespace() {
    let text = fs::read_to_string(root().join("deploy/grafana/mayfly.json")).expect("valid UTF-8");
    // A query ends at a quotation mark that is not escaped.
    let text = text.replace("\\\"", "'");
    let queries: Vec<_> = text.split("\"expr\": \"").skip(1).collect();
    assert!(queries.len() > 20, "{queries:?}");
    for query in queries.iter().filter_map(|rest| rest.split('"').next()) {
        let is_metric = |word: &&str| {
            word.starts_with("mayfly_") || word.starts_with("process_") || *word == "up"
        };
        let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let selected = query.matches("{namespace=~'$namespace'").count();
        assert_eq!(words.filter(is_metric).count(), selected, "{query}");
    }
}

/// Every alert is documented and has a test case in which it fires.
#[test]
fn alerts_are_documented_and_tested() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("the file exists");
    let (rules, cases) =
        (read("deploy/prometheus/rules.yml"), read("deploy/prometheus/rules.test.yml"));
    let operations = read("docs/OPERATIONS.md");
    let alerts: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    for alert in alerts {
        assert!(
            operations.contains(&format!("`{alert}`")),
            "docs/OPERATIONS.md does not document {alert}"
        );
        assert!(cases.contains(alert), "no test case for {alert}");
    }
}

/// The commands of the runbooks name the streams and consumer groups that the workers read.
#[test]
fn runbooks_name_existing_streams_and_groups() {
    let operations =
        fs::read_to_string(root().join("docs/OPERATIONS.md")).expect("the file exists");
    let (messages, group) = (Keys::new("mayfly", 0).messages(), Stream::Messages.group());
    for command in [
        format!("XINFO GROUPS '{messages}'"),
        format!("XPENDING '{messages}' {group} "),
        format!("XGROUP SETID '{messages}' {group} 0"),
        format!("(for plays, group `{}`)", Stream::Plays.group()),
    ] {
        assert!(operations.contains(&command), "docs/OPERATIONS.md lacks {command}");
    }
}

/// Images have the version of the workspace, and names that no name server can resolve (RFC 2606)
/// until an operator sets a registry: `mayfly/…` belongs to another account of the public registry.
#[test]
fn image_names_have_the_version_and_cannot_be_resolved() {
    let version = env!("CARGO_PKG_VERSION");
    let files = ["README.md", "k8s/README.md", "docs/OPERATIONS.md"].map(|path| root().join(path));
    let mut found = 0;
    for path in deployed_files().into_iter().chain(files) {
        let text = fs::read_to_string(&path).expect("valid UTF-8");
        for line in text.lines().filter(|line| is_image_name(line)) {
            let others = line.replace("registry.invalid/mayfly/", "");
            assert!(!is_image_name(&others), "{}: {line}: can be resolved", path.display());
            assert!(line.contains(version), "{}: {line}: another version", path.display());
            found += 1;
        }
    }
    assert!(found > 20, "only {found} images found");
    let dockerfile = fs::read_to_string(root().join("deploy/Dockerfile")).expect("readable");
    assert!(dockerfile.contains(&format!("image.version=\"{version}\"")), "another version");
}

/// Returns whether a line contains the name of a Mayfly image, such as `mayfly/list-api:0.1.0`.
fn is_image_name(line: &str) -> bool {
    let binaries = Service::ALL.iter().map(|service| service.name()).chain(["mayfly", "$bin"]);
    binaries
        .flat_map(|name| [format!("mayfly/{name}:"), format!("mayfly/{name},")])
        .any(|name| line.contains(&name))
}

/// Returns all files in `deploy` and `k8s`.
fn deployed_files() -> Vec<PathBuf> {
    let mut directories = vec![root().join("deploy"), root().join("k8s")];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() && !path.ends_with("__pycache__") {
                directories.push(path);
            } else if path.is_file() {
                files.push(path);
            }
        }
    }
    files
}
