//! Going on where a connection was: whether that is possible, and bringing what it missed.

use std::{future::poll_fn, rc::Rc, str::FromStr, task::Poll, time::Duration};

use actix_web::rt;
use mayfly_core::{EntryId, LiveEntry, Position, frame::NotResumed};
use mayfly_hot::{HotError, LiveRow};
use mayfly_runtime::metrics as names;
use metrics::counter;
use tokio::{task::JoinHandle, time::Instant};
use tracing::debug;

use crate::{
    batch::{Batch, Picked},
    client::{Stage, remember, wake},
    local::Local,
    shard::Forward,
    websocket::CloseCode,
};

/// Entries that are read of the stream at once; of the largest messages that is two megabytes.
const PAGE_ENTRIES: usize = 32;
/// How long a connection waits for Redis until it is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after a failure Redis is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Greets a connection and brings it what it missed, besides whatever else it does. To be aborted
/// when it ends.
pub(crate) fn begin(local: &Rc<Local>, key: usize, since: Option<String>) -> JoinHandle<()> {
    let local = Rc::clone(local);
    // Boxed: a task keeps the room of its future until its handle is dropped.
    rt::spawn(Box::pin(async move {
        if let Some(since) = greet(&local, key, since.as_deref()).await {
            replay(&local, key, since).await;
        }
    }))
}

/// Tells a connection where live delivery begins for it, and whether it goes on where it was; gives
/// from where on it has to be brought to the present.
async fn greet(local: &Local, key: usize, since: Option<&str>) -> Option<Position> {
    let greeting = async {
        wait_for_start(local).await;
        match since {
            None => Ok(None),
            Some(since) => resolve(local, since).await.map(Some),
        }
    };
    let Ok(outcome) = tokio::time::timeout(PATIENCE, greeting).await else {
        local.shard.borrow_mut().close(key, &CloseCode::Overloaded.into());
        local.shard.borrow_mut().flush();
        return None;
    };
    let mut shard = local.shard.borrow_mut();
    if !shard.clients[key].is_open() {
        return None;
    }
    let replay = match outcome {
        Ok(None) => {
            shard.greet_live(key, None);
            None
        }
        Ok(Some(position)) => {
            count("resumed");
            shard.greet_resumed(key, &position);
            Some(position)
        }
        Err(reason) => {
            count(reason.as_str());
            shard.greet_live(key, Some(reason));
            None
        }
    };
    shard.flush();
    wake(&mut shard.clients[key].task);
    replay
}

fn count(result: &'static str) {
    counter!(names::RESUMES_TOTAL, "result" => result).increment(1);
}

/// Waits until Redis was reached for the first time.
async fn wait_for_start(local: &Local) {
    loop {
        let advanced = local.advanced.notified();
        if local.shard.borrow().at().is_some() {
            return;
        }
        advanced.await;
    }
}

/// Whether this very point is still known. Asks as long as Redis does not answer.
async fn resolve(local: &Local, since: &str) -> Result<Position, NotResumed> {
    let position = Position::from_str(since).map_err(|_| NotResumed::UnknownPosition)?;
    if local.shard.borrow().knows(&position) {
        return Ok(position);
    }
    loop {
        match ask(local, &position).await {
            Ok(None) => return Ok(position),
            Ok(Some(reason)) => return Err(reason),
            Err(error) => {
                debug!(%error, "cannot look for a position");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Asks Redis for a point; gives why it is not known.
async fn ask(local: &Local, position: &Position) -> Result<Option<NotResumed>, HotError> {
    let Ok(_turn) = local.replays.acquire().await else { return Ok(Some(NotResumed::Window)) };
    let newest = local.hot.find_newest().await?;
    if newest.epoch != position.epoch || newest.entry < position.entry {
        return Ok(Some(NotResumed::DataLost));
    }
    // The newest point is known even where its entry is trimmed.
    if newest.entry == position.entry {
        return Ok(None);
    }
    if position.entry == EntryId::START {
        let is_known = local.hot.has_first_entry().await?;
        return Ok((!is_known).then_some(NotResumed::Window));
    }
    if local.hot.has_entry(position.entry).await? {
        return Ok(None);
    }
    local.hot.find_loss(position.entry).await.map(Some)
}

/// Brings a connection everything behind a point, in the order of the stream and as fast as it
/// reads, until it is live.
async fn replay(local: &Local, key: usize, since: Position) {
    let mut cursor = since.entry;
    let mut patient_until = Instant::now() + PATIENCE;
    loop {
        if !is_drained(local, key).await {
            return;
        }
        let advanced = local.advanced.notified();
        match step(local, key, &since, &mut cursor) {
            Step::Done => return,
            Step::Again => patient_until = Instant::now() + PATIENCE,
            Step::Ahead => {
                let _ = tokio::time::timeout(RETRY_PAUSE, advanced).await;
            }
            Step::Behind => match read(local, &since, cursor).await {
                // Redis knows less than this process: it has lost something, which shows soon.
                Ok(Ok(page)) if page.is_empty() => tokio::time::sleep(RETRY_PAUSE).await,
                Ok(Ok(page)) => {
                    patient_until = Instant::now() + PATIENCE;
                    cursor = give(local, key, &since, cursor, page);
                }
                Ok(Err(reason)) => return lose(local, key, reason),
                Err(error) => {
                    debug!(%error, "cannot read what a connection missed");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            },
        }
        if Instant::now() > patient_until {
            local.shard.borrow_mut().close(key, &CloseCode::Overloaded.into());
            local.shard.borrow_mut().flush();
            return;
        }
    }
}

/// What a replay does next.
enum Step {
    /// The connection is live.
    Done,
    /// It was brought forward, and there is more.
    Again,
    /// It knows more than this process as yet.
    Ahead,
    /// What it lacks has to be read from Redis.
    Behind,
}

fn step(local: &Local, key: usize, since: &Position, cursor: &mut EntryId) -> Step {
    let mut shard = local.shard.borrow_mut();
    if shard.clients[key].stage != Stage::Replaying {
        return Step::Done;
    }
    let Some(at) = shard.at().cloned() else { return Step::Ahead };
    if at.epoch != since.epoch {
        shard.greet_live(key, Some(NotResumed::DataLost));
        shard.flush();
        return Step::Done;
    }
    let step = match shard.bring_forward(key, *cursor) {
        Forward::Live => Step::Done,
        Forward::To(entry) => {
            *cursor = entry;
            Step::Again
        }
        Forward::Unknown if at.entry < *cursor => Step::Ahead,
        Forward::Unknown => Step::Behind,
    };
    shard.flush();
    step
}

/// Reads what follows the cursor, if that is still whole: neither trimmed nor of another epoch.
async fn read(
    local: &Local,
    since: &Position,
    cursor: EntryId,
) -> Result<Result<Vec<LiveRow>, NotResumed>, HotError> {
    let Ok(_turn) = local.replays.acquire().await else { return Ok(Err(NotResumed::Window)) };
    let mut rows = local.hot.read_live(cursor, PAGE_ENTRIES + 1).await?;
    if cursor != EntryId::START {
        if rows.first().is_none_or(|row| row.id != cursor) {
            return Ok(Err(NotResumed::Window));
        }
        rows.remove(0);
    }
    // A position of an epoch may name the last entry of the one before, but nothing behind it.
    let is_one_past = rows.iter().all(|row| *row.epoch == *since.epoch);
    Ok(if is_one_past { Ok(rows) } else { Err(NotResumed::DataLost) })
}

/// Gives a connection its part of a page; gives the end of the page.
fn give(
    local: &Local,
    key: usize,
    since: &Position,
    cursor: EntryId,
    page: Vec<LiveRow>,
) -> EntryId {
    let Some(end) = page.last().map(|row| row.id) else { return cursor };
    let mut shard = local.shard.borrow_mut();
    if shard.clients[key].stage != Stage::Replaying {
        return end;
    }
    let interest = Rc::clone(&shard.clients[key].interest);
    let wanted = |entry: &LiveEntry| interest.subscription.wants(&entry.event);
    let entries: Vec<_> = page.into_iter().filter_map(|row| row.entry).filter(wanted).collect();
    if !entries.is_empty() {
        let batch = Batch::encode(Position { entry: cursor, ..since.clone() }, end, entries);
        let all = Picked::From(0);
        if let Some(selection) = batch.select(interest.encoding, &interest.subscription, &all) {
            shard.give(key, selection);
            shard.flush();
        }
    }
    end
}

/// Tells a connection that it cannot go on where it was after all, and goes on live.
fn lose(local: &Local, key: usize, reason: NotResumed) {
    let mut shard = local.shard.borrow_mut();
    if shard.clients[key].stage == Stage::Replaying {
        shard.greet_live(key, Some(reason));
        shard.flush();
    }
}

/// Waits until a connection has taken nearly all that was written to it; false if it has ended.
async fn is_drained(local: &Local, key: usize) -> bool {
    poll_fn(|context| {
        let mut shard = local.shard.borrow_mut();
        let client = &mut shard.clients[key];
        if client.stage != Stage::Replaying {
            return Poll::Ready(false);
        }
        if client.is_nearly_drained() {
            return Poll::Ready(true);
        }
        remember(&mut client.drained, context);
        Poll::Pending
    })
    .await
}
