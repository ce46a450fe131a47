//! Prometheus as `deploy/prometheus` has it, and every question of the dashboard.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use mayfly_stack::{Claim, Service, claim_free, find_tool};
use mayfly_tests::{PATIENCE, Tethered, World, eventually};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::{busy_world, make_busy};

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

/// Runs a command to its end, which must be good.
async fn promtool(arguments: &[&str], files: &[&str]) {
    let mut command = Command::new(find_tool("promtool").expect("`make test` installs it"));
    command.args(arguments).args(files.iter().map(|file| deploy(file)));
    let output = command.output().await.expect("it can be run");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
}

#[tokio::test]
async fn the_rules_are_sound_and_each_fires_when_it_should() {
    promtool(&["check", "config"], &["prometheus/prometheus.yml"]).await;
    promtool(&["check", "rules"], &["prometheus/rules.yml"]).await;
    promtool(&["test", "rules"], &["prometheus/rules.test.yml"]).await;
}

#[tokio::test]
async fn prometheus_finds_every_service_and_answers_every_question_of_the_dashboard() {
    let world = busy_world().await;
    let prometheus = Prometheus::start(&world).await;
    eventually(PATIENCE, "every service is scraped", async || {
        let up = prometheus.ask("count(up == 1)").await;
        if up[0]["value"][1] == "5" { Ok(()) } else { Err(up) }
    })
    .await;
    for question in questions() {
        // What counts what happened needs two looks with something between them.
        eventually(PATIENCE, &question, async || {
            make_busy(&world).await;
            let answer = prometheus.ask(&question).await;
            if answer.as_array().is_some_and(|rows| !rows.is_empty()) {
                Ok(())
            } else {
                Err(answer)
            }
        })
        .await;
    }
    eventually(PATIENCE, "every rule was evaluated, and is well", async || {
        let rules = prometheus.get("/api/v1/rules").await;
        let groups = rules["data"]["groups"].as_array().expect("there are groups");
        let mut rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        match rules.find(|rule| rule["health"] != "ok") {
            Some(rule) => Err(rule.clone()),
            None => Ok(()),
        }
    })
    .await;
}

/// Every expression of the dashboard, its variables filled in as Grafana does.
fn questions() -> BTreeSet<String> {
    fn collect(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(text) if name == "expr" => drop(found.insert(fill_in(text))),
                        _ => collect(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let text = fs::read_to_string(deploy("grafana/mayfly.json")).expect("the dashboard is there");
    let mut found = BTreeSet::new();
    collect(&serde_json::from_str(&text).expect("it is JSON"), &mut found);
    assert!(found.len() > 20, "{found:?}");
    found
}

fn fill_in(expression: &str) -> String {
    let filled = expression
        .replace("$__rate_interval", "10s")
        .replace("$__range", "1m")
        .replace("$service", ".*")
        .replace("$instance", ".*");
    assert!(!filled.contains('$'), "{filled}: nobody fills this in");
    filled
}

/// A running Prometheus.
struct Prometheus {
    url: String,
    http: reqwest::Client,
    _port: Claim,
    _process: Tethered,
    _dir: TempDir,
}

impl Prometheus {
    async fn start(world: &World) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let file = dir.path().join("prometheus.yml");
        fs::write(&file, configuration(world)).expect("a file can be written");
        fs::copy(deploy("prometheus/rules.yml"), dir.path().join("rules.yml")).expect("rules");
        let port = claim_free().expect("a port is free");
        let address = format!("127.0.0.1:{}", port.port);
        let log = fs::File::create(dir.path().join("log")).expect("a file can be made");
        let words = [
            find_tool("prometheus").expect("`make test` installs it").into_os_string(),
            format!("--config.file={}", file.display()).into(),
            format!("--storage.tsdb.path={}", dir.path().join("data").display()).into(),
            format!("--web.listen-address={address}").into(),
            "--log.level=error".into(),
        ];
        let process = Tethered::start(words, log);
        let (url, http) = (format!("http://{address}"), world.http.clone());
        let prometheus = Self { url, http, _port: port, _process: process, _dir: dir };
        let ready = format!("{}/-/ready", prometheus.url);
        eventually(PATIENCE, "Prometheus is ready", async || {
            let answer =
                prometheus.http.get(&ready).send().await.map_err(|error| error.to_string())?;
            if answer.status() == 200 { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
        prometheus
    }

    async fn get(&self, path_and_query: &str) -> Value {
        let answer = self.http.get(format!("{}{path_and_query}", self.url)).send().await;
        answer.expect("Prometheus answers").json().await.expect("it is JSON")
    }

    /// The rows of an answer.
    async fn ask(&self, question: &str) -> Value {
        let query = [("query", question)];
        let asked = self.http.get(format!("{}/api/v1/query", self.url)).query(&query);
        let answer = asked.send().await.expect("Prometheus answers");
        let mut answer: Value = answer.json().await.expect("it is JSON");
        assert_eq!(answer["status"], "success", "{question}: {answer}");
        answer["data"]["result"].take()
    }
}

/// The configuration as it is shipped, with the services of this Mayfly and every second.
fn configuration(world: &World) -> String {
    let text = fs::read_to_string(deploy("prometheus/prometheus.yml")).expect("it is there");
    let mut text = text.replace("15s", "1s");
    for service in Service::ALL {
        let found_by_name = format!(
            "    dns_sd_configs:\n      - names: [{service}]\n        type: A\n        port: 9090\n        refresh_interval: 1s\n"
        );
        assert_eq!(text.matches(&found_by_name).count(), 1, "{service} is found by its name");
        let urls = world.stack.env().admin_urls(service);
        let targets: Vec<_> = urls.iter().map(|url| url.trim_start_matches("http://")).collect();
        let named = format!("    static_configs:\n      - targets: [{}]\n", targets.join(", "));
        text = text.replace(&found_by_name, &named);
    }
    text
}
