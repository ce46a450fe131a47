//! A client for server-sent events.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::{ApiResponse, DEFAULT_TIMEOUT};

/// An event or a comment block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The field `id`, or empty.
    pub id: String,
    /// The field `event`, or empty.
    pub kind: String,
    /// The `data` lines, joined by newlines.
    pub data: String,
    /// The text of a comment.
    pub comment: String,
    /// The field `retry`.
    pub retry: Option<Duration>,
}

impl Event {
    /// Parses the data as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }
}

/// An open event stream.
#[derive(Debug)]
pub struct Events {
    response: Response,
    buffer: String,
}

impl Events {
    /// Opens a stream.
    ///
    /// # Errors
    /// The response, if it is not an event stream.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn open(request: RequestBuilder) -> Result<Self, ApiResponse> {
        let response = request.send().await.expect("the service responds");
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if response.status() == 200
            && kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
        {
            return Ok(Self { response, buffer: String::new() });
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("the response is complete").to_vec();
        Err(ApiResponse { status, headers, body })
    }

    /// Returns the value of a response header.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.response.headers().get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Waits for the next event and skips comments.
    ///
    /// # Panics
    /// If no event is received in time.
    pub async fn next(&mut self) -> Event {
        loop {
            let block = self.next_block().await.expect("the stream stays open");
            if !block.data.is_empty() {
                return block;
            }
        }
    }

    /// Waits for the next block, an event or a comment. Returns `None` at the end of the stream.
    ///
    /// # Panics
    /// If nothing is received in time.
    pub async fn next_block(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                return Some(parse_block(&block));
            }
            let chunk = timeout(DEFAULT_TIMEOUT, self.response.chunk())
                .await
                .expect("a chunk arrives in time");
            let chunk = chunk.ok().flatten()?;
            self.buffer.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}

fn parse_block(block: &str) -> Event {
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
