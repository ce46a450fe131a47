//! A reader of server-sent events.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::{Answer, PATIENCE};

/// An event, or a comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its `id`; empty where there is none.
    pub id: String,
    /// Its `event`; empty where there is none.
    pub kind: String,
    /// Its `data`, line by line.
    pub data: String,
    /// What stood behind a colon.
    pub comment: String,
    /// Its `retry`.
    pub retry: Option<Duration>,
}

impl Event {
    /// Its data.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }
}

/// A stream of events.
#[derive(Debug)]
pub struct Events {
    response: Response,
    buffer: String,
}

impl Events {
    /// Opens a stream.
    ///
    /// # Errors
    /// When the answer is another.
    ///
    /// # Panics
    /// When there is none.
    pub async fn open(request: RequestBuilder) -> Result<Self, Answer> {
        let response = request.send().await.expect("the service answers");
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if response.status() == 200
            && kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
        {
            return Ok(Self { response, buffer: String::new() });
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("the answer ends").to_vec();
        Err(Answer { status, headers, body })
    }

    /// The value of a header of the answer.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.response.headers().get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The next event, comments left out.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next(&mut self) -> Event {
        loop {
            let block = self.next_block().await.expect("the stream goes on");
            if !block.data.is_empty() {
                return block;
            }
        }
    }

    /// The next block, whatever it holds; none at the end of the stream.
    ///
    /// # Panics
    /// When neither comes.
    pub async fn next_block(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                return Some(read_block(&block));
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("something comes");
            let chunk = chunk.ok().flatten()?;
            self.buffer.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}

fn read_block(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match name {
            "" => event.comment = value,
            "id" => event.id = value,
            "event" => event.kind = value,
            "data" if event.data.is_empty() => event.data = value,
            "data" => event.data.extend(["\n", &value]),
            "retry" => event.retry = value.parse().ok().map(Duration::from_millis),
            other => panic!("a field `{other}` in {block:?}"),
        }
    }
    event
}
