//! Prometheus with `deploy/prometheus`, and every query of the dashboard.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use mayfly_stack::{ReservedPort, Service, find_tool, reserve_free_port};
use mayfly_tests::{ChildGuard, DEFAULT_TIMEOUT, World, eventually};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::{busy_world, generate_activity};

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

/// Runs promtool, which must succeed.
async fn promtool(arguments: &[&str], files: &[&str]) {
    let mut command = Command::new(find_tool("promtool").expect("installed by `make test`"));
    command.args(arguments).args(files.iter().map(|file| deploy(file)));
    let output = command.output().await.expect("promtool starts");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
}

#[tokio::test]
async fn rules_are_valid_and_alerts_fire() {
    promtool(&["check", "config"], &["prometheus/prometheus.yml"]).await;
    promtool(&["check", "rules"], &["prometheus/rules.yml"]).await;
    promtool(&["test", "rules"], &["prometheus/rules.test.yml"]).await;
}

#[tokio::test]
async fn prometheus_scrapes_every_service_and_every_dashboard_query_has_data() {
    let world = busy_world().await;
    let prometheus = Prometheus::start(&world).await;
    eventually(DEFAULT_TIMEOUT, "every service is scraped", async || {
        let up = prometheus.query("count(up == 1)").await;
        if up[0]["value"][1] == "5" { Ok(()) } else { Err(up) }
    })
    .await;
    for expression in dashboard_expressions() {
        // Rates need two scrapes with activity in between.
        eventually(DEFAULT_TIMEOUT, &expression, async || {
            generate_activity(&world).await;
            let response = prometheus.query(&expression).await;
            if response.as_array().is_some_and(|rows| !rows.is_empty()) {
                Ok(())
            } else {
                Err(response)
            }
        })
        .await;
    }
    eventually(DEFAULT_TIMEOUT, "every rule is evaluated without errors", async || {
        let rules = prometheus.get("/api/v1/rules").await;
        let groups = rules["data"]["groups"].as_array().expect("`groups` is set");
        let mut rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        match rules.find(|rule| rule["health"] != "ok") {
            Some(rule) => Err(rule.clone()),
            None => Ok(()),
        }
    })
    .await;
}

/// Returns all expressions of the dashboard with their variables replaced.
fn dashboard_expressions() -> BTreeSet<String> {
    fn collect(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(text) if name == "expr" => drop(found.insert(replace_variables(text))),
                        _ => collect(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let text = fs::read_to_string(deploy("grafana/mayfly.json")).expect("the file exists");
    let mut found = BTreeSet::new();
    collect(&serde_json::from_str(&text).expect("valid JSON"), &mut found);
    assert!(found.len() > 20, "{found:?}");
    found
}

fn replace_variables(expression: &str) -> String {
    let filled = expression
        .replace("$__rate_interval", "10s")
        .replace("$__range", "1m")
        .replace("$namespace", ".*")
        .replace("$service", ".*")
        .replace("$instance", ".*");
    assert!(!filled.contains('$'), "{filled}: unknown variable");
    filled
}

/// A running Prometheus.
struct Prometheus {
    url: String,
    http: reqwest::Client,
    _port: ReservedPort,
    _process: ChildGuard,
    _dir: TempDir,
}

impl Prometheus {
    async fn start(world: &World) -> Self {
        let dir = tempfile::tempdir().expect("the directory is created");
        let file = dir.path().join("prometheus.yml");
        fs::write(&file, configuration(world)).expect("the file is written");
        fs::copy(deploy("prometheus/rules.yml"), dir.path().join("rules.yml"))
            .expect("the rules are copied");
        let port = reserve_free_port().expect("a port is free");
        let address = format!("127.0.0.1:{}", port.port);
        let log = fs::File::create(dir.path().join("log")).expect("the file is created");
        let command_line = [
            find_tool("prometheus").expect("installed by `make test`").into_os_string(),
            format!("--config.file={}", file.display()).into(),
            format!("--storage.tsdb.path={}", dir.path().join("data").display()).into(),
            format!("--web.listen-address={address}").into(),
            "--log.level=error".into(),
        ];
        let process = ChildGuard::start(command_line, log);
        let (url, http) = (format!("http://{address}"), world.http.clone());
        let prometheus = Self { url, http, _port: port, _process: process, _dir: dir };
        let ready = format!("{}/-/ready", prometheus.url);
        eventually(DEFAULT_TIMEOUT, "Prometheus is ready", async || {
            let response =
                prometheus.http.get(&ready).send().await.map_err(|error| error.to_string())?;
            if response.status() == 200 { Ok(()) } else { Err(response.status().to_string()) }
        })
        .await;
        prometheus
    }

    async fn get(&self, path_and_query: &str) -> Value {
        let response = self.http.get(format!("{}{path_and_query}", self.url)).send().await;
        response.expect("Prometheus responds").json().await.expect("valid JSON")
    }

    /// Runs a query and returns its rows.
    async fn query(&self, expression: &str) -> Value {
        let query = [("query", expression)];
        let request = self.http.get(format!("{}/api/v1/query", self.url)).query(&query);
        let response = request.send().await.expect("Prometheus responds");
        let mut response: Value = response.json().await.expect("valid JSON");
        assert_eq!(response["status"], "success", "{expression}: {response}");
        response["data"]["result"].take()
    }
}

/// Returns the shipped configuration with static targets and a scrape interval of one second.
fn configuration(world: &World) -> String {
    let text = fs::read_to_string(deploy("prometheus/prometheus.yml")).expect("the file exists");
    let mut text = text.replace("15s", "1s");
    for service in Service::ALL {
        let discovery = format!(
            "    dns_sd_configs:\n      - names: [{service}]\n        type: A\n        port: 9090\n        refresh_interval: 1s\n"
        );
        assert_eq!(text.matches(&discovery).count(), 1, "{service} is discovered by DNS");
        let urls = world.stack.env().admin_urls(service);
        let targets: Vec<_> = urls.iter().map(|url| url.trim_start_matches("http://")).collect();
        let static_targets =
            format!("    static_configs:\n      - targets: [{}]\n", targets.join(", "));
        text = text.replace(&discovery, &static_targets);
    }
    text
}
