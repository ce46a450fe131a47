//! Producers: concurrent tasks that send plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use mayfly_live_client::KeyFile;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::http_client::HttpClient;
use crate::progress::Progress;

const PATH: &str = "/v1/plays";
/// The number of plays per request.
const BATCH_PLAYS: usize = 500;

/// A play in a request.
#[derive(Serialize)]
struct Play<'a> {
    video_id: &'a str,
}

/// The response to a request.
#[derive(Deserialize)]
struct Accepted {
    accepted: usize,
}

/// The plays, divided into batches. Each batch is sent by only one producer.
#[derive(Debug)]
pub(super) struct PlayBatches {
    videos: Vec<String>,
    /// The index of the video for each play.
    plays: Vec<usize>,
    next_batch: AtomicUsize,
}

impl PlayBatches {
    pub(super) fn new(videos: Vec<String>, plays: Vec<usize>) -> Self {
        Self { videos, plays, next_batch: AtomicUsize::new(0) }
    }

    /// Returns the next request body and its number of plays; `None` after the last batch.
    fn next(&self) -> Result<Option<(Bytes, usize)>> {
        let number = self.next_batch.fetch_add(1, Ordering::Relaxed);
        let Some(batch) = self.plays.chunks(BATCH_PLAYS).nth(number) else { return Ok(None) };
        let plays: Vec<_> =
            batch.iter().map(|video| Play { video_id: &self.videos[*video] }).collect();
        Ok(Some((Bytes::from(serde_json::to_vec(&plays)?), batch.len())))
    }
}

/// Sends all plays with concurrent producers. If a request fails, stops and returns the error.
pub(super) async fn send_plays(
    batches: PlayBatches,
    producers: u64,
    urls: &[String],
    key_file: Option<&KeyFile>,
    progress: &mut Progress,
) -> Result<()> {
    let batches = Arc::new(batches);
    let (accepted_sender, mut accepted) = mpsc::channel(64);
    // Dropping the set aborts the tasks.
    let mut tasks = JoinSet::new();
    for number in 0..producers {
        let mut urls = urls.to_vec();
        let first = usize::try_from(number)? % urls.len().max(1);
        urls.rotate_left(first);
        let client = HttpClient::new(urls, key_file, CancellationToken::new())?;
        tasks.spawn(run_producer(client, batches.clone(), accepted_sender.clone()));
    }
    drop(accepted_sender);
    while let Some(count) = accepted.recv().await {
        progress.add(count? as u64);
    }
    Ok(())
}

/// Sends batches until no batch is left or a request fails.
async fn run_producer(
    mut client: HttpClient,
    batches: Arc<PlayBatches>,
    accepted: mpsc::Sender<Result<usize>>,
) {
    loop {
        let result = send_next(&mut client, &batches).await;
        let Some(count) = result.transpose() else { return };
        let is_failed = count.is_err();
        if accepted.send(count).await.is_err() || is_failed {
            return;
        }
    }
}

async fn send_next(client: &mut HttpClient, batches: &PlayBatches) -> Result<Option<usize>> {
    let Some((body, count)) = batches.next()? else { return Ok(None) };
    let response = match client.post_idempotent(PATH, body).await {
        Ok(response) => response,
        Err(error) => bail!("cannot send {count} plays: {error}"),
    };
    let body: Accepted = serde_json::from_slice(&response.body).context("malformed response")?;
    if body.accepted != count {
        bail!("{count} plays were sent, but {} were accepted", body.accepted);
    }
    Ok(Some(count))
}
