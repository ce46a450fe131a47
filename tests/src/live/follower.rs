//! A client that comes back: wherever it is thrown out, it goes on elsewhere behind what it has.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{Live, NotOpened, Opening, Told};
use crate::PATIENCE;

const RETRY_AFTER: Duration = Duration::from_millis(20);

/// A client that comes back.
#[derive(Debug)]
pub struct Follower {
    urls: Vec<String>,
    at: usize,
    live: Live,
    /// Where it is.
    pub position: String,
    /// The messages that it has, in the order in which they came.
    pub seen: Vec<Uuid>,
    /// How often it came back.
    pub returns: usize,
}

impl Follower {
    /// Connects to one of these, each with a query of at least one word.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn start(urls: Vec<String>, at: usize) -> Self {
        let at = at % urls.len();
        let (live, hello) = Live::hello(&urls[at]).await;
        assert!(hello.get("resumed").is_none(), "nobody asked: {hello}");
        let position = hello["position"].as_str().expect("hello has a position").to_owned();
        Self { urls, at, live, position, seen: Vec::new(), returns: 0 }
    }

    /// Waits for the next frame, however long, and keeps what it says.
    ///
    /// # Errors
    /// When the connection ended: the code and the reason.
    ///
    /// # Panics
    /// When the frame is none that belongs to messages.
    pub async fn follow(&mut self) -> Result<Told, (u16, String)> {
        let told = Told::read(&self.live.next_text().await?);
        assert!(["message", "expired", "position"].contains(&told.kind.as_str()), "{told:?}");
        if let Some(position) = &told.position {
            self.position.clone_from(position);
        }
        if let Some(message) = &told.message {
            self.seen.push(message.id);
        }
        Ok(told)
    }

    /// Follows until then, and comes back where it is thrown out.
    ///
    /// # Panics
    /// When it cannot come back.
    pub async fn follow_until(&mut self, then: Instant) {
        while let Ok(followed) = tokio::time::timeout_at(then, self.follow()).await {
            if followed.is_err() {
                self.come_back().await;
            }
        }
    }

    /// Follows until it has so many messages.
    ///
    /// # Panics
    /// When it does not get them in time.
    pub async fn follow_to(&mut self, count: usize, within: Duration) {
        let followed = timeout(within, async {
            while self.seen.len() < count {
                if self.follow().await.is_err() {
                    self.come_back().await;
                }
            }
        });
        let in_time = followed.await.is_ok();
        assert!(in_time, "{} of {count} messages within {within:?}", self.seen.len());
    }

    /// Vanishes with a reset, and goes on at the next.
    ///
    /// # Panics
    /// When it cannot come back.
    pub async fn cut(&mut self) {
        self.live.vanish();
        self.come_back().await;
    }

    /// Goes on at the next, behind what it has.
    ///
    /// # Panics
    /// When nobody lets it, or it does not go on where it was.
    pub async fn come_back(&mut self) {
        self.returns += 1;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.at = (self.at + 1) % self.urls.len();
            let url = format!("{}&since={}", self.urls[self.at], self.position);
            if let Ok(mut live) = Opening::to(&url).send().await.map_err(check_refusal)
                && let Ok(text) = live.next_text().await
            {
                let hello = Told::read(&text);
                assert_eq!(hello.kind, "hello");
                assert_eq!(hello.resumed, Some(true), "{hello:?} after {}", self.position);
                assert_eq!(hello.position.as_ref(), Some(&self.position), "where it was");
                self.live = live;
                return;
            }
            sleep(RETRY_AFTER).await;
        }
        panic!("not back within {PATIENCE:?}");
    }
}

/// Nobody may be turned away but for a moment.
fn check_refusal(error: NotOpened) {
    if let NotOpened::Refused(answer) = error {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    }
}
