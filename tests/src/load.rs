//! Writers that post at a steady rate and record the accepted messages.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_stack::Service;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{World, message_id};

/// The outcomes of all requests of a load.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// The IDs of the accepted messages.
    pub accepted: Vec<String>,
    /// The number of other responses, by status.
    pub rejected: BTreeMap<u16, usize>,
    /// The number of requests without a response.
    pub unanswered: usize,
}

impl LoadReport {
    fn add(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        for (status, count) in other.rejected {
            *self.rejected.entry(status).or_default() += count;
        }
        self.unanswered += other.unanswered;
    }
}

/// Running writers. They stop on [`Load::stop`] or when this is dropped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    writers: JoinSet<LoadReport>,
}

/// The number of users. Their inboxes receive half of the messages.
pub const USERS: usize = 32;
const WRITERS: u32 = 32;

impl Load {
    /// Starts to post `rate` messages per second, one per request, to every `ingest-api` in turn.
    #[must_use]
    pub fn start(world: &World, rate: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let urls: Arc<[String]> = world.urls(Service::IngestApi).into();
        let interval = Duration::from_secs(1) * WRITERS / rate;
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let writer = Writer {
                number: number as usize,
                http: world.http.clone(),
                urls: urls.clone(),
                report: LoadReport::default(),
            };
            writers.spawn(writer.run(interval, stop.clone()));
        }
        Self { stop, writers }
    }

    /// Stops the writers and waits for the responses of all requests in flight.
    ///
    /// # Panics
    /// If a writer panicked.
    pub async fn stop(mut self) -> LoadReport {
        self.stop.store(true, Ordering::Relaxed);
        let mut report = LoadReport::default();
        while let Some(writer) = self.writers.join_next().await {
            report.add(writer.expect("the writer does not panic"));
        }
        report
    }
}

struct Writer {
    number: usize,
    http: Client,
    urls: Arc<[String]>,
    report: LoadReport,
}

impl Writer {
    async fn run(mut self, interval: Duration, stop: Arc<AtomicBool>) -> LoadReport {
        let mut ticks = tokio::time::interval(interval);
        let mut index = self.number;
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            self.post(index).await;
            index += 1;
        }
        self.report
    }

    async fn post(&mut self, index: usize) {
        let mut message = json!({"text": format!("load {} {index}", self.number), "ttl": 600});
        if index.is_multiple_of(2) {
            message["username"] = user(index / 2 % USERS).into();
        }
        let url = format!("{}/v1/messages", self.urls[index % self.urls.len()]);
        let result = match self.http.post(url).json(&message).send().await {
            Ok(response) => Ok((response.status().as_u16(), response.json::<Value>().await)),
            Err(error) => Err(error),
        };
        match result {
            Ok((202, Ok(message))) => self.report.accepted.push(message_id(&message).to_owned()),
            // The message may have been accepted, but its ID was lost with the connection.
            Ok((202, Err(_))) | Err(_) => self.report.unanswered += 1,
            Ok((status, _)) => *self.report.rejected.entry(status).or_default() += 1,
        }
    }
}

/// Returns the name of a user of the load.
#[must_use]
pub fn user(number: usize) -> String {
    format!("user-{number}")
}
