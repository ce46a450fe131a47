//! Inspection of `ws-fanout`, its stream and its metrics.

use std::fs;

use mayfly_stack::Service;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reqwest::Client;
use serde::Deserialize;
use uuid::Uuid;

use crate::World;

impl World {
    /// Returns the live URL of the first `ws-fanout`.
    #[must_use]
    pub fn live_url(&self, query: &str) -> String {
        self.url(Service::WsFanout, &format!("/v1/live?{query}"))
    }

    /// Returns the live URLs of all `ws-fanout` instances.
    #[must_use]
    pub fn live_urls(&self, query: &str) -> Vec<String> {
        let urls = self.urls(Service::WsFanout);
        urls.iter().map(|url| format!("{url}/v1/live?{query}")).collect()
    }

    /// Returns the IDs of a channel's messages in the stream, in order.
    ///
    /// # Panics
    /// If Redis is unavailable.
    pub async fn stream_message_ids(&self, channel: &str) -> Vec<Uuid> {
        #[derive(Deserialize)]
        struct Entry {
            id: Uuid,
            channel: String,
        }
        let (mut redis, mut all, mut from) = (self.redis().await, Vec::new(), "-".to_owned());
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(self.key("messages")).arg(&from).arg("+").arg("COUNT").arg(100);
            let page: Vec<(String, Vec<String>)> =
                range.query_async(&mut redis).await.expect("Redis responds");
            let Some((last, _)) = page.last() else { return all };
            from = format!("({last}");
            let messages = page.iter().filter(|(_, fields)| fields[0] == "message.v1");
            let messages = messages
                .map(|(_, fields)| serde_json::from_str(&fields[1]).expect("a valid message"));
            all.extend(messages.filter(|one: &Entry| one.channel == channel).map(|one| one.id));
        }
    }

    /// Reads the metrics of the first `ws-fanout`.
    ///
    /// # Panics
    /// If the admin port of `ws-fanout` is unavailable.
    pub async fn fanout_metrics(&self) -> Metrics {
        Metrics::read(&self.http, &self.stack.env().admin_urls(Service::WsFanout)[0]).await
    }
}

/// The metrics of a service in the Prometheus text format.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Reads the metrics from an admin port.
    ///
    /// # Panics
    /// If the admin port is unavailable.
    pub async fn read(http: &Client, admin: &str) -> Self {
        let response = http.get(format!("{admin}/metrics")).send().await;
        let response = response.expect("the admin port responds").text().await;
        Self(response.expect("the response is complete"))
    }

    /// Sums all series of a metric, named without `mayfly_`. Returns 0 if there are none.
    #[must_use]
    pub fn sum(&self, name: &str) -> u64 {
        let lines = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix("mayfly_")?.strip_prefix(name)?;
            let is_match = name.ends_with('}') || rest.starts_with(['{', ' ']);
            let value = rest.rsplit(' ').next()?.split('.').next()?;
            is_match.then(|| value.parse::<u64>().ok()).flatten()
        });
        lines.sum()
    }
}

/// Returns the resident memory of a process in bytes.
///
/// # Panics
/// If the process or `/proc` does not exist.
#[must_use]
pub fn rss_bytes(pid: u32) -> u64 {
    memory_bytes(pid, "VmRSS:")
}

/// Returns the largest resident set size that a process has had so far, in bytes.
///
/// # Panics
/// If the process or `/proc` does not exist.
#[must_use]
pub fn peak_rss_bytes(pid: u32) -> u64 {
    memory_bytes(pid, "VmHWM:")
}

fn memory_bytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process exists");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.expect("the status contains the field as a number") * 1024
}

/// Raises this process's limit on open files to the hard limit and returns the limit.
///
/// # Panics
/// If the limit cannot be read or set.
pub fn raise_file_limit() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit is readable");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        .expect("the limit can be raised to the hard limit");
    hard
}
