//! Reports plays and reads the resulting counts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use mayfly_stack::Service;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{ApiResponse, DEFAULT_TIMEOUT, World, eventually, live::LiveSocket};

/// The number of plays of each video.
pub type Counts = BTreeMap<String, u64>;

/// The maximum number of plays in one request.
const MAX_PLAYS_PER_REQUEST: usize = 1_000;

impl World {
    /// Reports one play of each video in one request.
    ///
    /// # Panics
    /// If the request is not accepted.
    pub async fn play(&self, videos: &[&str]) {
        let plays: Vec<_> = videos.iter().map(|video| json!({"video_id": video})).collect();
        self.post_plays(&plays).await;
    }

    /// Reports plays in requests of the maximum size.
    ///
    /// # Panics
    /// If a request is not accepted.
    pub async fn post_plays(&self, plays: &[Value]) {
        for chunk in plays.chunks(MAX_PLAYS_PER_REQUEST) {
            let response = self.http.post(self.ingest_url("/v1/plays")).json(chunk);
            assert_eq!(
                ApiResponse::send(response).await.expect_status(202),
                json!({"accepted": chunk.len()})
            );
        }
    }

    /// Returns the counts in Postgres.
    ///
    /// # Panics
    /// If Postgres is unavailable.
    pub async fn stored_counts(&self) -> Counts {
        let rows =
            self.postgres().await.query("SELECT video_id, count FROM play_counts", &[]).await;
        let count = |row: tokio_postgres::Row| {
            (row.get(0), u64::try_from(row.get::<_, i64>(1)).expect("a count is not negative"))
        };
        rows.expect("the query works").into_iter().map(count).collect()
    }

    /// Returns the counts that the API lists, from all pages.
    ///
    /// # Panics
    /// If a page cannot be read or a video is listed twice.
    pub async fn list_counts(&self) -> Counts {
        let (mut counts, mut cursor) = (Counts::new(), String::new());
        loop {
            let url = self.list_url(&format!("/v1/plays?limit=1000{cursor}"));
            let page = ApiResponse::send(self.http.get(url)).await.expect_status(200);
            for (video, count) in parse_counts(&page["items"]) {
                assert_eq!(counts.insert(video.clone(), count), None, "{video} is listed twice");
            }
            if page["has_more"] != true {
                return counts;
            }
            let next = page["next_cursor"].as_str().expect("the page has `next_cursor`");
            cursor = format!("&cursor={next}");
        }
    }

    /// Waits until Postgres and the API have exactly these counts.
    ///
    /// # Panics
    /// If the counts do not match in time.
    pub async fn wait_for_counts(&self, counts: &Counts, within: Duration) {
        eventually(within, "Postgres has the expected counts", async || {
            let stored = self.stored_counts().await;
            if stored == *counts { Ok(()) } else { Err(differences(counts, &stored)) }
        })
        .await;
        eventually(DEFAULT_TIMEOUT, "the API lists the expected counts", async || {
            let listed = self.list_counts().await;
            if listed == *counts { Ok(()) } else { Err(differences(counts, &listed)) }
        })
        .await;
    }

    /// Waits until the API reports this count for a video.
    ///
    /// # Panics
    /// If the API does not report the count in time.
    pub async fn wait_for_count(&self, video: &str, count: u64) {
        let path = percent_encoding::utf8_percent_encode(video, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/v1/plays/{path}");
        eventually(DEFAULT_TIMEOUT, "the play is counted", async || {
            let (status, json) = self.get(&path).await;
            if status == 200 && json["count"] == count { Ok(()) } else { Err((status, json)) }
        })
        .await;
    }
}

/// Parses the videos and counts of a response or frame.
///
/// # Panics
/// If the value is not a list of counts.
#[must_use]
pub fn parse_counts(list: &Value) -> Vec<(String, u64)> {
    let parse = |one: &Value| {
        let video = one["video_id"].as_str().expect("`video_id` is set").to_owned();
        (video, one["count"].as_u64().expect("`count` is set"))
    };
    list.as_array().expect("an array").iter().map(parse).collect()
}

fn differences(expected: &Counts, actual: &Counts) -> Vec<(String, Option<u64>, Option<u64>)> {
    let videos = expected.keys().chain(actual.keys());
    let mut all: Vec<_> = videos
        .map(|video| (video.clone(), expected.get(video).copied(), actual.get(video).copied()))
        .filter(|(_, expected, actual)| expected != actual)
        .collect();
    all.sort();
    all.dedup();
    all.truncate(10);
    all
}

/// A received frame of counts.
#[derive(Debug, Clone)]
pub struct PlaysFrame {
    /// When the frame was received.
    pub at: Instant,
    /// The counts, in the order of the frame.
    pub counts: Vec<(String, u64)>,
}

/// A recorder of all published counts. It reconnects when its connection is closed.
pub struct PlaysRecorder {
    frames: Arc<Mutex<Vec<PlaysFrame>>>,
    task: JoinHandle<()>,
}

impl PlaysRecorder {
    /// Starts recording. `query` can select videos, for example `&video=a`.
    ///
    /// # Panics
    /// If no `ws-fanout` is running.
    pub async fn record(world: &World, query: &str) -> Self {
        let url = world.url(Service::WsFanout, &format!("/v1/live?feed=plays{query}"));
        let frames = Arc::<Mutex<Vec<PlaysFrame>>>::default();
        let (mut live, _) = LiveSocket::connect_with_hello(&url).await;
        let into = Arc::clone(&frames);
        let task = tokio::spawn(async move {
            loop {
                while let Ok(text) = live.next_text().await {
                    let frame: Value = serde_json::from_slice(&text).expect("a frame is JSON");
                    if frame["type"] == "plays" {
                        let counts = parse_counts(&frame["counts"]);
                        let mut frames = into.lock().expect("the mutex is not poisoned");
                        frames.push(PlaysFrame { at: Instant::now(), counts });
                    }
                }
                live = LiveSocket::connect(&url).await;
            }
        });
        Self { frames, task }
    }

    /// Returns all frames received so far.
    ///
    /// # Panics
    /// If the recording task panicked.
    #[must_use]
    pub fn frames(&self) -> Vec<PlaysFrame> {
        self.frames.lock().expect("the mutex is not poisoned").clone()
    }

    /// Returns the last published count of each video.
    #[must_use]
    pub fn last(&self) -> Counts {
        self.frames().into_iter().flat_map(|frame| frame.counts).collect()
    }

    /// Waits until the last published counts include these.
    ///
    /// # Panics
    /// If they are not published in time.
    pub async fn wait_for_last_including(&self, counts: &Counts, within: Duration) {
        eventually(within, "the expected counts are published", async || {
            let mut last = self.last();
            last.retain(|video, _| counts.contains_key(video));
            if last == *counts { Ok(()) } else { Err(differences(counts, &last)) }
        })
        .await;
    }

    /// Waits until the last published counts are exactly these.
    ///
    /// # Panics
    /// If they are not published in time.
    pub async fn wait_for_last(&self, counts: &Counts, within: Duration) {
        eventually(within, "the expected counts are published", async || {
            let last = self.last();
            if last == *counts { Ok(()) } else { Err(differences(counts, &last)) }
        })
        .await;
    }

    /// Checks that every frame has 1 to 20 videos without duplicates and that the counts of a video
    /// strictly increase.
    ///
    /// # Panics
    /// If a frame violates this.
    pub fn assert_valid(&self) {
        let mut last = Counts::new();
        for frame in self.frames() {
            assert!((1..=20).contains(&frame.counts.len()), "{frame:?}");
            for (video, count) in frame.counts {
                let before = last.insert(video.clone(), count);
                assert!(before.is_none_or(|before| before < count), "{video}: {before:?}, {count}");
            }
        }
    }
}

impl Drop for PlaysRecorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
