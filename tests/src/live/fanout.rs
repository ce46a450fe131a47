//! The live side of a Mayfly, looked at from outside.

use std::fs;

use mayfly_stack::Service;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reqwest::Client;
use serde::Deserialize;
use uuid::Uuid;

use crate::World;

impl World {
    /// The URL of a feed at the first ws-fanout.
    #[must_use]
    pub fn live(&self, query: &str) -> String {
        self.url(Service::WsFanout, &format!("/v1/live?{query}"))
    }

    /// The URLs of a feed, one for each ws-fanout.
    #[must_use]
    pub fn lives(&self, query: &str) -> Vec<String> {
        let urls = self.urls(Service::WsFanout);
        urls.iter().map(|url| format!("{url}/v1/live?{query}")).collect()
    }

    /// The messages of a channel that the stream holds, in its order.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn streamed(&self, channel: &str) -> Vec<Uuid> {
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
                range.query_async(&mut redis).await.expect("Redis answers");
            let Some((last, _)) = page.last() else { return all };
            from = format!("({last}");
            let messages = page.iter().filter(|(_, fields)| fields[0] == "message.v1");
            let messages = messages
                .map(|(_, fields)| serde_json::from_str(&fields[1]).expect("it is a message"));
            all.extend(messages.filter(|one: &Entry| one.channel == channel).map(|one| one.id));
        }
    }

    /// The metrics of the first ws-fanout.
    ///
    /// # Panics
    /// When its admin port does not answer.
    pub async fn fanout_metrics(&self) -> Metrics {
        Metrics::read(&self.http, &self.stack.env().admin_urls(Service::WsFanout)[0]).await
    }
}

/// What a service counts.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Asks an admin port.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn read(http: &Client, admin: &str) -> Self {
        let answer = http.get(format!("{admin}/metrics")).send().await;
        let answer = answer.expect("the admin port answers").text().await;
        Self(answer.expect("the answer ends"))
    }

    /// The sum of what begins with this name, without `mayfly_`; 0 where there is nothing.
    #[must_use]
    pub fn sum(&self, name: &str) -> u64 {
        let lines = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix("mayfly_")?.strip_prefix(name)?;
            let is_it = name.ends_with('}') || rest.starts_with(['{', ' ']);
            let value = rest.rsplit(' ').next()?.split('.').next()?;
            is_it.then(|| value.parse::<u64>().ok()).flatten()
        });
        lines.sum()
    }
}

/// The memory that a process has, in bytes.
///
/// # Panics
/// When there is no such process, or no `/proc`.
#[must_use]
pub fn rss_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.expect("the kernel says how much") * 1024
}

/// Raises the number of files that this process may have open as far as it may.
///
/// # Panics
/// When the kernel does not know the limit.
pub fn file_limit() -> u64 {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("it may be raised so far");
    most
}
