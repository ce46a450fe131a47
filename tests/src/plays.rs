//! Plays, as tests report them and look at what becomes of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use mayfly_stack::Service;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{Answer, PATIENCE, World, eventually, live::Live};

/// How often each video was played.
pub type Counts = BTreeMap<String, u64>;

/// Plays of one request at most.
const REQUEST_PLAYS_MAX: usize = 1_000;

impl World {
    /// Reports one play of each of these videos, in one request.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn play(&self, videos: &[&str]) {
        let plays: Vec<_> = videos.iter().map(|video| json!({"video_id": video})).collect();
        self.post_plays(&plays).await;
    }

    /// Reports plays, as many a request as may be.
    ///
    /// # Panics
    /// When one is not accepted.
    pub async fn post_plays(&self, plays: &[Value]) {
        for chunk in plays.chunks(REQUEST_PLAYS_MAX) {
            let answer = self.http.post(self.ingest("/v1/plays")).json(chunk);
            assert_eq!(Answer::of(answer).await.expect(202), json!({"accepted": chunk.len()}));
        }
    }

    /// The counts in Postgres.
    ///
    /// # Panics
    /// When Postgres cannot be asked.
    pub async fn counts_in_postgres(&self) -> Counts {
        let rows =
            self.postgres().await.query("SELECT video_id, count FROM play_counts", &[]).await;
        let count = |row: tokio_postgres::Row| {
            (row.get(0), u64::try_from(row.get::<_, i64>(1)).expect("no count is below zero"))
        };
        rows.expect("the query works").into_iter().map(count).collect()
    }

    /// The counts as the API lists them, all pages.
    ///
    /// # Panics
    /// When a page is not answered, or a video comes twice though nothing moves.
    pub async fn counts_by_get(&self) -> Counts {
        let (mut counts, mut cursor) = (Counts::new(), String::new());
        loop {
            let url = self.list(&format!("/v1/plays?limit=1000{cursor}"));
            let page = Answer::of(self.http.get(url)).await.expect(200);
            for (video, count) in counts_of(&page["items"]) {
                assert_eq!(counts.insert(video.clone(), count), None, "{video} came twice");
            }
            if page["has_more"] != true {
                return counts;
            }
            let next = page["next_cursor"].as_str().expect("there is a next page");
            cursor = format!("&cursor={next}");
        }
    }

    /// Waits until Postgres has these counts, no other, and the API lists them.
    ///
    /// # Panics
    /// When that is not in time.
    pub async fn until_counts_are(&self, counts: &Counts, within: Duration) {
        eventually(within, "all is counted", async || {
            let stored = self.counts_in_postgres().await;
            if stored == *counts { Ok(()) } else { Err(differences(counts, &stored)) }
        })
        .await;
        eventually(PATIENCE, "all is listed", async || {
            let listed = self.counts_by_get().await;
            if listed == *counts { Ok(()) } else { Err(differences(counts, &listed)) }
        })
        .await;
    }

    /// Waits until a video has so many plays.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn until_counted(&self, video: &str, count: u64) {
        let path = percent_encoding::utf8_percent_encode(video, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/v1/plays/{path}");
        eventually(PATIENCE, "it is counted", async || {
            let (status, json) = self.get(&path).await;
            if status == 200 && json["count"] == count { Ok(()) } else { Err((status, json)) }
        })
        .await;
    }
}

/// Videos and counts, as they stand in answers and frames.
///
/// # Panics
/// When they do not.
#[must_use]
pub fn counts_of(list: &Value) -> Vec<(String, u64)> {
    let read = |one: &Value| {
        let video = one["video_id"].as_str().expect("it names a video").to_owned();
        (video, one["count"].as_u64().expect("it has a count"))
    };
    list.as_array().expect("it is a list").iter().map(read).collect()
}

fn differences(wanted: &Counts, seen: &Counts) -> Vec<(String, Option<u64>, Option<u64>)> {
    let videos = wanted.keys().chain(seen.keys());
    let mut all: Vec<_> = videos
        .map(|video| (video.clone(), wanted.get(video).copied(), seen.get(video).copied()))
        .filter(|(_, wanted, seen)| wanted != seen)
        .collect();
    all.sort();
    all.dedup();
    all.truncate(10);
    all
}

/// A frame of counts, and when it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it came.
    pub at: Instant,
    /// What it said.
    pub counts: Vec<(String, u64)>,
}

/// Records all that is published of counts, over a socket that is opened again where it is cut.
pub struct Published {
    frames: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Published {
    /// Begins to record; `query` may name videos, as in `&video=a`.
    ///
    /// # Panics
    /// When there is no ws-fanout.
    pub async fn record(world: &World, query: &str) -> Self {
        let url = world.url(Service::WsFanout, &format!("/v1/live?feed=plays{query}"));
        let frames = Arc::<Mutex<Vec<Seen>>>::default();
        let (mut live, _) = Live::hello(&url).await;
        let into = Arc::clone(&frames);
        let task = tokio::spawn(async move {
            loop {
                while let Ok(text) = live.next_text().await {
                    let frame: Value = serde_json::from_slice(&text).expect("a frame is JSON");
                    if frame["type"] == "plays" {
                        let counts = counts_of(&frame["counts"]);
                        let mut frames = into.lock().expect("nobody panicked with it");
                        frames.push(Seen { at: Instant::now(), counts });
                    }
                }
                live = Live::connect(&url).await;
            }
        });
        Self { frames, task }
    }

    /// All frames so far.
    ///
    /// # Panics
    /// When the recording failed.
    #[must_use]
    pub fn frames(&self) -> Vec<Seen> {
        self.frames.lock().expect("nobody panicked with it").clone()
    }

    /// The last count of each video.
    #[must_use]
    pub fn last(&self) -> Counts {
        self.frames().into_iter().flat_map(|frame| frame.counts).collect()
    }

    /// Waits until the last counts are these, and perhaps others of other videos.
    ///
    /// # Panics
    /// When they are not in time.
    pub async fn until_last_include(&self, counts: &Counts, within: Duration) {
        eventually(within, "all is published", async || {
            let mut last = self.last();
            last.retain(|video, _| counts.contains_key(video));
            if last == *counts { Ok(()) } else { Err(differences(counts, &last)) }
        })
        .await;
    }

    /// Waits until the last counts are these.
    ///
    /// # Panics
    /// When they are not in time.
    pub async fn until_last_are(&self, counts: &Counts, within: Duration) {
        eventually(within, "all is published", async || {
            let last = self.last();
            if last == *counts { Ok(()) } else { Err(differences(counts, &last)) }
        })
        .await;
    }

    /// What goes for every frame: 1 to 20 videos, none twice, and no count of a video that is not
    /// greater than the one before.
    ///
    /// # Panics
    /// When it does not.
    pub fn assert_sound(&self) {
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

impl Drop for Published {
    fn drop(&mut self) {
        self.task.abort();
    }
}
