//! Plays on their way in: several tasks that send requests, each one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::commands::simulate::api::Api;
use crate::commands::simulate::progress::Progress;

const PATH: &str = "/v1/plays";
/// Plays of one request.
const BATCH: usize = 500;

/// A play as it is sent.
#[derive(Serialize)]
struct Play<'a> {
    video_id: &'a str,
}

/// What is read of an answer.
#[derive(Deserialize)]
struct Accepted {
    accepted: usize,
}

/// What is to be sent, and how far it is.
#[derive(Debug)]
pub(super) struct Plays {
    videos: Vec<String>,
    /// Each play as the number of its video.
    order: Vec<usize>,
    /// The next request.
    next: AtomicUsize,
}

impl Plays {
    pub(super) fn new(videos: Vec<String>, order: Vec<usize>) -> Self {
        Self { videos, order, next: AtomicUsize::new(0) }
    }

    /// The next request, and how many plays it brings; none when all are taken.
    fn take(&self) -> Result<Option<(Bytes, usize)>> {
        let Some(batch) = self.order.chunks(BATCH).nth(self.next.fetch_add(1, Ordering::Relaxed))
        else {
            return Ok(None);
        };
        let plays: Vec<_> =
            batch.iter().map(|video| Play { video_id: &self.videos[*video] }).collect();
        Ok(Some((Bytes::from(serde_json::to_vec(&plays)?), batch.len())))
    }
}

/// Sends all plays to all instances in turn, so many requests at once. With the first that is not accepted it ends.
pub(super) async fn send(
    plays: Plays,
    producers: u64,
    urls: &[String],
    progress: &mut Progress,
) -> Result<()> {
    let plays = Arc::new(plays);
    let (telling, mut told) = mpsc::channel(64);
    // Dropped with this function, and all of them with it.
    let mut tasks = JoinSet::new();
    for number in 0..producers {
        let mut urls = urls.to_vec();
        let first = usize::try_from(number)? % urls.len().max(1);
        urls.rotate_left(first);
        tasks.spawn(produce(Api::new(urls)?, plays.clone(), telling.clone()));
    }
    drop(telling);
    while let Some(accepted) = told.recv().await {
        progress.add(accepted? as u64);
    }
    Ok(())
}

/// Sends requests until all are taken or one fails; tells what was accepted.
async fn produce(mut api: Api, plays: Arc<Plays>, telling: mpsc::Sender<Result<usize>>) {
    loop {
        let sent = send_next(&mut api, &plays).await;
        let Some(accepted) = sent.transpose() else { return };
        let failed = accepted.is_err();
        if telling.send(accepted).await.is_err() || failed {
            return;
        }
    }
}

async fn send_next(api: &mut Api, plays: &Plays) -> Result<Option<usize>> {
    let Some((body, count)) = plays.take()? else { return Ok(None) };
    let answer = match api.post_once(PATH, body).await {
        Ok(answer) => answer,
        Err(failure) => bail!("{count} plays were not accepted: {failure}"),
    };
    let said: Accepted =
        serde_json::from_slice(&answer.body).context("an answer is not readable")?;
    if said.accepted != count {
        bail!("{count} plays were sent, and {} were accepted", said.accepted);
    }
    Ok(Some(count))
}
