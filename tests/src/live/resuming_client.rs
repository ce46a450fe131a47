//! A client that reconnects to another instance and resumes from its last position.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{LiveSocket, ReceivedFrame, UpgradeError, UpgradeRequest};
use crate::DEFAULT_TIMEOUT;

const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// A client that resumes after every disconnect.
#[derive(Debug)]
pub struct ResumingClient {
    urls: Vec<String>,
    current: usize,
    live: LiveSocket,
    /// The position of the last received frame.
    pub position: String,
    /// The IDs of the received messages, in order of receipt.
    pub seen: Vec<Uuid>,
    /// The number of reconnects.
    pub reconnects: usize,
}

impl ResumingClient {
    /// Connects to the URL at index `current`. Each URL must have a query.
    ///
    /// # Panics
    /// If the connection fails.
    pub async fn start(urls: Vec<String>, current: usize) -> Self {
        let current = current % urls.len();
        let (live, hello) = LiveSocket::connect_with_hello(&urls[current]).await;
        assert!(hello.get("resumed").is_none(), "no position was sent: {hello}");
        let position = hello["position"].as_str().expect("`hello` has a position").to_owned();
        Self { urls, current, live, position, seen: Vec::new(), reconnects: 0 }
    }

    /// Waits for the next frame without a timeout and records its position and message.
    ///
    /// # Errors
    /// The close code and reason when the connection ends.
    ///
    /// # Panics
    /// If the frame has an unexpected type.
    pub async fn receive(&mut self) -> Result<ReceivedFrame, (u16, String)> {
        let frame = ReceivedFrame::parse(&self.live.next_text().await?);
        assert!(["message", "expired", "position"].contains(&frame.kind.as_str()), "{frame:?}");
        if let Some(position) = &frame.position {
            self.position.clone_from(position);
        }
        if let Some(message) = &frame.message {
            self.seen.push(message.id);
        }
        Ok(frame)
    }

    /// Receives frames until `deadline` and reconnects when the connection ends.
    ///
    /// # Panics
    /// If the client cannot reconnect.
    pub async fn follow_until(&mut self, deadline: Instant) {
        while let Ok(received) = tokio::time::timeout_at(deadline, self.receive()).await {
            if received.is_err() {
                self.reconnect().await;
            }
        }
    }

    /// Receives frames until it has `count` messages, and reconnects when the connection ends.
    ///
    /// # Panics
    /// If the client does not receive the messages in time.
    pub async fn follow_until_count(&mut self, count: usize, within: Duration) {
        let received = timeout(within, async {
            while self.seen.len() < count {
                if self.receive().await.is_err() {
                    self.reconnect().await;
                }
            }
        });
        let in_time = received.await.is_ok();
        assert!(in_time, "{} of {count} messages within {within:?}", self.seen.len());
    }

    /// Resets the connection and resumes at the next instance.
    ///
    /// # Panics
    /// If the client cannot reconnect.
    pub async fn drop_and_resume(&mut self) {
        self.live.reset_on_drop();
        self.reconnect().await;
    }

    /// Resumes from the last position at the next instance.
    ///
    /// # Panics
    /// If no instance accepts the connection in time, or if an instance does not resume from the
    /// position.
    pub async fn reconnect(&mut self) {
        self.reconnects += 1;
        let deadline = Instant::now() + DEFAULT_TIMEOUT;
        while Instant::now() < deadline {
            self.current = (self.current + 1) % self.urls.len();
            let url = format!("{}&since={}", self.urls[self.current], self.position);
            if let Ok(mut live) = UpgradeRequest::new(&url).send().await.map_err(check_rejection)
                && let Ok(text) = live.next_text().await
            {
                let hello = ReceivedFrame::parse(&text);
                assert_eq!(hello.kind, "hello");
                assert_eq!(hello.resumed, Some(true), "{hello:?} after {}", self.position);
                assert_eq!(hello.position.as_ref(), Some(&self.position), "the last position");
                self.live = live;
                return;
            }
            sleep(RETRY_INTERVAL).await;
        }
        panic!("not reconnected within {DEFAULT_TIMEOUT:?}");
    }
}

/// Checks that a rejection is temporary.
fn check_rejection(error: UpgradeError) {
    if let UpgradeError::Rejected(response) = error {
        assert_eq!(response.status, 503, "{}", response.text());
        assert!(!response.header("retry-after").is_empty(), "{response:?}");
    }
}
