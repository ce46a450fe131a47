//! Load: writers that post at a steady rate and remember what was accepted.

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

use crate::World;

/// What writers met.
#[derive(Debug, Default)]
pub struct Tally {
    /// The ids of the messages that were answered with 2xx.
    pub accepted: Vec<String>,
    /// How often each other status was the answer.
    pub refused: BTreeMap<u16, usize>,
    /// Requests without an answer.
    pub unanswered: usize,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        self.unanswered += other.unanswered;
    }
}

/// Writers at work. They stop when told to, or when this is dropped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    writers: JoinSet<Tally>,
}

/// The users into whose inboxes half of the messages go.
pub const USERS: usize = 32;
const WRITERS: u32 = 32;

impl Load {
    /// Starts to post `rate` messages a second, one a request, to every ingest-api in turn.
    #[must_use]
    pub fn start(world: &World, rate: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let urls: Arc<[String]> = world.urls(Service::IngestApi).into();
        let every = Duration::from_secs(1) * WRITERS / rate;
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let writer = Writer {
                number: number as usize,
                http: world.http.clone(),
                urls: urls.clone(),
                tally: Tally::default(),
            };
            writers.spawn(writer.run(every, stop.clone()));
        }
        Self { stop, writers }
    }

    /// Stops when every request under way is answered, and says what was met.
    ///
    /// # Panics
    /// When a writer did.
    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        while let Some(one) = self.writers.join_next().await {
            tally.add(one.expect("a writer ends well"));
        }
        tally
    }
}

struct Writer {
    number: usize,
    http: Client,
    urls: Arc<[String]>,
    tally: Tally,
}

impl Writer {
    async fn run(mut self, every: Duration, stop: Arc<AtomicBool>) -> Tally {
        let mut ticks = tokio::time::interval(every);
        let mut turn = self.number;
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            self.post(turn).await;
            turn += 1;
        }
        self.tally
    }

    async fn post(&mut self, turn: usize) {
        let mut message = json!({"text": format!("load {} {turn}", self.number), "ttl": 600});
        if turn.is_multiple_of(2) {
            message["username"] = user(turn / 2 % USERS).into();
        }
        let url = format!("{}/v1/messages", self.urls[turn % self.urls.len()]);
        let answered = match self.http.post(url).json(&message).send().await {
            Ok(answer) => Ok((answer.status().as_u16(), answer.json::<Value>().await)),
            Err(error) => Err(error),
        };
        match answered {
            Ok((202, Ok(message))) => {
                let id = message["id"].as_str().expect("a message has an id");
                self.tally.accepted.push(id.to_owned());
            }
            // The status says that it is accepted, and the id went with the connection.
            Ok((202, Err(_))) | Err(_) => self.tally.unanswered += 1,
            Ok((status, _)) => *self.tally.refused.entry(status).or_default() += 1,
        }
    }
}

/// The name of a user of the load.
#[must_use]
pub fn user(number: usize) -> String {
    format!("user-{number}")
}
