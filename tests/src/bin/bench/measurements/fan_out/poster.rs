//! A client that posts the due messages of a schedule to `ingest-api` in batches.

use std::{ops::Range, time::Duration};

use anyhow::{Context as _, bail};
use tokio::time::{MissedTickBehavior, interval};

use super::{schedule::Schedule, timestamp};
use crate::{
    effort::USERS,
    load::{Connection, message, username},
};

/// The interval between two batches.
pub const POST_INTERVAL: Duration = Duration::from_millis(5);
/// The maximum number of messages per batch; more would exceed the client's response buffer.
const MAX_BATCH_MESSAGES: u64 = 100;
/// Long enough for a run, short enough to limit the memory of Redis.
const TTL_SECS: u32 = 60;

/// A client of ingest-api.
#[derive(Debug)]
pub struct Poster {
    address: String,
    /// A header line, or empty.
    authorization: String,
    /// One message of each user.
    messages: Vec<Vec<u8>>,
    timestamp: Range<usize>,
}

impl Poster {
    /// Creates a client for an address, `host:port`.
    pub fn new(address: String, authorization: String) -> anyhow::Result<Self> {
        let messages: Vec<Vec<u8>> = (0..USERS)
            .map(|user| (message(&username(user), TTL_SECS) + "\n").into_bytes())
            .collect();
        let timestamp =
            timestamp::find(&messages[0]).context("the message has no room for a timestamp")?;
        Ok(Self { address, authorization, messages, timestamp })
    }

    /// Posts all messages. Returns `false` as soon as a batch is rejected with 503.
    pub async fn send(&self, schedule: &Schedule) -> anyhow::Result<bool> {
        let mut connection = Connection::open(&self.address).await?;
        let mut ticks = interval(POST_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut posted = 0;
        while posted < schedule.count {
            ticks.tick().await;
            let due = schedule.due();
            while posted < due {
                let until = due.min(posted + MAX_BATCH_MESSAGES);
                let response =
                    connection.exchange(&self.batch_request(schedule, posted..until)).await?;
                match response.status {
                    202 => posted = until,
                    503 => return Ok(false),
                    other => bail!("POST /v1/messages/batch: {other}"),
                }
            }
        }
        Ok(true)
    }

    /// Builds a batch request.
    fn batch_request(&self, schedule: &Schedule, indices: Range<u64>) -> Vec<u8> {
        let mut body = Vec::new();
        for index in indices {
            let start = body.len();
            let user = usize::try_from(index).unwrap_or(0) % self.messages.len();
            body.extend(&self.messages[user]);
            timestamp::write(&mut body[start..][self.timestamp.clone()], schedule.due_us(index));
        }
        let head = format!(
            "POST /v1/messages/batch HTTP/1.1\r\nhost: 127.0.0.1\r\n\
             content-type: application/x-ndjson\r\n{}content-length: {}\r\n\r\n",
            self.authorization,
            body.len()
        );
        [head.into_bytes(), body].concat()
    }
}
