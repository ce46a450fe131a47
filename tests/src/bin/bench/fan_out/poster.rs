//! The messages of a pace, posted to ingest-api: what has become due since, in one batch every few
//! milliseconds.

use std::{ops::Range, time::Duration};

use anyhow::{Context as _, bail};
use tokio::time::{MissedTickBehavior, interval};

use super::{pace::Pace, stamp};
use crate::{
    connection::Connection,
    effort::USERS,
    requests::{message, username},
};

/// Between two batches.
pub const POST_EVERY: Duration = Duration::from_millis(5);
/// Messages of one batch: more would have an answer that is longer than is understood.
const BATCH_MESSAGES_MAX: u64 = 100;
/// Longer than a run of the bench matters, shorter than Redis minds.
const TTL_SECS: u32 = 60;

/// A client of ingest-api.
#[derive(Debug)]
pub struct Poster {
    address: String,
    /// One of each user.
    messages: Vec<Vec<u8>>,
    stamp: Range<usize>,
}

impl Poster {
    /// Posts to `host:port`.
    pub fn new(address: String) -> anyhow::Result<Self> {
        let messages: Vec<Vec<u8>> = (0..USERS)
            .map(|user| (message(&username(user), TTL_SECS) + "\n").into_bytes())
            .collect();
        let stamp = stamp::find(&messages[0]).context("there is no place for a stamp")?;
        Ok(Self { address, messages, stamp })
    }

    /// Posts messages until the last is accepted or one is not; says whether all were.
    pub async fn send(&self, pace: &Pace) -> anyhow::Result<bool> {
        let mut connection = Connection::open(&self.address).await?;
        let mut ticks = interval(POST_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut posted = 0;
        while posted < pace.count {
            ticks.tick().await;
            let due = pace.due();
            while posted < due {
                let until = due.min(posted + BATCH_MESSAGES_MAX);
                let answer = connection.exchange(&self.request(pace, posted..until)).await?;
                match answer.status {
                    202 => posted = until,
                    503 => return Ok(false),
                    other => bail!("a batch: {other}"),
                }
            }
        }
        Ok(true)
    }

    /// Some of them as a batch.
    fn request(&self, pace: &Pace, indices: Range<u64>) -> Vec<u8> {
        let mut body = Vec::new();
        for index in indices {
            let start = body.len();
            let user = usize::try_from(index).unwrap_or(0) % self.messages.len();
            body.extend(&self.messages[user]);
            stamp::write(&mut body[start..][self.stamp.clone()], pace.due_us(index));
        }
        let head = format!(
            "POST /v1/messages/batch HTTP/1.1\r\nhost: 127.0.0.1\r\n\
             content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }
}
