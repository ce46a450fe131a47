//! Resumes connections: checks the resume position and replays missed messages.

mod page_size;

use std::{future::poll_fn, rc::Rc, str::FromStr, task::Poll, time::Duration};

use actix_web::rt;
use mayfly_core::{EntryId, LiveEntry, Position, frame::ResumeFailure};
use mayfly_hot::{HotError, StreamEntry};
use metrics::counter;
use tokio::{task::JoinHandle, time::Instant};

use self::page_size::PageSize;
use crate::{
    frames::{Batch, EntrySet},
    hub::ReplayShare,
    metrics as names,
    websocket::CloseCode,
    worker::{BufferedReplay, REPLAY_PAGE_BYTES, Stage, WorkerContext, wake},
};

/// How long a connection waits for Redis before it is closed with `overloaded`.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long a client may go without reading its replay before its connection is closed, if other
/// connections are waiting for the replay budget.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between checks for a stalled client while a replay waits for that client.
const STALL_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Spawns a task that sends `hello` to a connection and replays missed messages. The caller must
/// abort the task when removing the connection from the worker, because the key is then invalid.
pub(crate) fn start(
    context: &Rc<WorkerContext>,
    key: usize,
    since: Option<String>,
) -> JoinHandle<()> {
    let context = Rc::clone(context);
    // Clients can send malformed positions of any length, so the task holds only the parsed one.
    let since =
        since.map(|since| Position::from_str(&since).map_err(|_| ResumeFailure::UnknownPosition));
    // The future is boxed so that its memory is freed when the task completes. The memory of the
    // task itself is freed only when its handle is dropped.
    rt::spawn(Box::pin(async move {
        if let Some(since) = send_hello(&context, key, since).await {
            replay(&context, key, since).await;
        }
    }))
}

/// Sends `hello` and returns the position to replay from, or `None` if the connection does not
/// resume. Closes the connection if Redis does not respond in time.
async fn send_hello(
    context: &WorkerContext,
    key: usize,
    since: Option<Result<Position, ResumeFailure>>,
) -> Option<Position> {
    let resolving = async {
        wait_for_first_position(context).await;
        match since {
            None => Ok(None),
            Some(Err(failure)) => Err(failure),
            Some(Ok(position)) => resolve_position(context, position).await.map(Some),
        }
    };
    let Ok(resolved) = tokio::time::timeout(REDIS_TIMEOUT, resolving).await else {
        close_overloaded(context, key);
        return None;
    };
    let mut worker = context.worker.borrow_mut();
    if !worker.connections[key].is_open() {
        return None;
    }
    let since = match resolved {
        Ok(None) => {
            worker.start_live(key, None);
            None
        }
        Ok(Some(position)) => {
            count_resume("resumed");
            worker.start_replay(key, &position);
            Some(position)
        }
        Err(failure) => {
            count_resume(failure.as_str());
            worker.start_live(key, Some(failure));
            None
        }
    };
    worker.flush();
    wake(&mut worker.connections[key].task_waker);
    since
}

fn count_resume(result: &'static str) {
    counter!(names::RESUMES_TOTAL, "result" => result).increment(1);
}

fn close_overloaded(context: &WorkerContext, key: usize) {
    let mut worker = context.worker.borrow_mut();
    worker.close(key, &CloseCode::Overloaded.into());
    worker.flush();
}

/// Waits until the worker has its first position from Redis.
async fn wait_for_first_position(context: &WorkerContext) {
    loop {
        let advanced = context.advanced.notified();
        if context.worker.borrow().position().is_some() {
            return;
        }
        advanced.await;
    }
}

/// Checks that the connection can resume from a position, and returns the position. Retries while
/// Redis is unavailable.
async fn resolve_position(
    context: &WorkerContext,
    position: Position,
) -> Result<Position, ResumeFailure> {
    if context.worker.borrow().can_replay_from(&position) {
        return Ok(position);
    }
    loop {
        match find_failure(context, &position).await {
            Ok(None) => {
                context.replay_outages.record_success();
                return Ok(position);
            }
            Ok(Some(failure)) => return Err(failure),
            Err(error) => {
                context.replay_outages.record_failure(error);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Checks in Redis whether a connection can resume from a position. Returns the reason if the
/// connection cannot resume, and otherwise `None`.
async fn find_failure(
    context: &WorkerContext,
    position: &Position,
) -> Result<Option<ResumeFailure>, HotError> {
    let Ok(_permit) = context.replay_reads.acquire().await else {
        return Ok(Some(ResumeFailure::Window));
    };
    let newest = context.hot.message_stream().find_position().await?;
    if newest.epoch != position.epoch || newest.entry < position.entry {
        return Ok(Some(ResumeFailure::DataLost));
    }
    // A connection can resume from the newest position even if the entry there was trimmed.
    if newest.entry == position.entry {
        return Ok(None);
    }
    if position.entry == EntryId::START {
        let is_known = context.hot.message_stream().has_first_entry().await?;
        return Ok((!is_known).then_some(ResumeFailure::Window));
    }
    if context.hot.message_stream().has_entry(position.entry).await? {
        return Ok(None);
    }
    context.hot.message_stream().find_loss(position.entry).await.map(Some)
}

/// Replays all entries after `since` that match the subscription, in stream order and at the pace
/// of the client, until the connection switches to live delivery or closes. Before each page, the
/// connection acquires a share of the replay budget. The connection returns the share when its send
/// queue has room for the next page, or when the replay ends. The replay rate limits how fast pages
/// are read from Redis. While a connection waits for the rate, it holds no share of the budget, so
/// that it does not delay replays of buffered entries.
async fn replay(context: &WorkerContext, key: usize, since: Position) {
    let (mut cursor, mut page_size) = (since.entry, PageSize::default());
    let mut share: Option<ReplayShare> = None;
    let (mut reads_stream, mut is_admitted) = (false, false);
    let mut deadline = Instant::now() + REDIS_TIMEOUT;
    loop {
        let wait_started_at = Instant::now();
        if !wait_for_room(context, key, share.is_some()).await {
            return;
        }
        drop(share.take());
        if reads_stream && !is_admitted {
            context.hub.replay_rate.admit().await;
            is_admitted = true;
        }
        let bytes = page_size.bytes_max().max(REPLAY_PAGE_BYTES);
        let mut taken = context.hub.replay_budget.acquire(bytes).await;
        // Waiting for the client, the rate and the budget does not count toward the deadline.
        deadline += wait_started_at.elapsed();
        let advanced = context.advanced.notified();
        let mut step = replay_step(context, key, &since, &mut cursor);
        reads_stream = step == ReplayStep::ReadStream;
        if reads_stream && is_admitted {
            step = replay_page(context, key, &since, &mut cursor, &mut page_size).await;
            // A failed read is retried without waiting for the rate again.
            is_admitted = step == ReplayStep::Retry;
        }
        taken.shrink(context.worker.borrow().connections[key].send_queue.bytes());
        share = Some(taken);
        match step {
            ReplayStep::Done => return,
            ReplayStep::Advanced => deadline = Instant::now() + REDIS_TIMEOUT,
            ReplayStep::WaitForWorker => {
                let _ = tokio::time::timeout(RETRY_PAUSE, advanced).await;
            }
            // The next iteration reads the stream.
            ReplayStep::ReadStream => {}
            ReplayStep::Retry => tokio::time::sleep(RETRY_PAUSE).await,
        }
        if Instant::now() > deadline {
            return close_overloaded(context, key);
        }
    }
}

/// The outcome of one step of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReplayStep {
    /// The replay has ended.
    Done,
    /// The cursor has advanced, and more entries may follow.
    Advanced,
    /// The worker has no position yet, or its position is behind the cursor.
    WaitForWorker,
    /// The next entries must be read from Redis.
    ReadStream,
    /// A failed read from Redis must be retried.
    Retry,
}

fn replay_step(
    context: &WorkerContext,
    key: usize,
    since: &Position,
    cursor: &mut EntryId,
) -> ReplayStep {
    let mut worker = context.worker.borrow_mut();
    if worker.connections[key].stage != Stage::Replaying {
        return ReplayStep::Done;
    }
    let Some(position) = worker.position().cloned() else { return ReplayStep::WaitForWorker };
    if position.epoch != since.epoch {
        worker.start_live(key, Some(ResumeFailure::DataLost));
        worker.flush();
        return ReplayStep::Done;
    }
    // Nothing is replayed to a connection that receives no messages, so the stream is not read.
    let has_messages = worker.connections[key].group_key.subscription.has_messages();
    let from = if has_messages { *cursor } else { position.entry.max(*cursor) };
    let step = match worker.replay_buffered(key, from) {
        BufferedReplay::CaughtUp => ReplayStep::Done,
        BufferedReplay::Partial(entry) => {
            *cursor = entry;
            ReplayStep::Advanced
        }
        BufferedReplay::NotBuffered if position.entry < *cursor => ReplayStep::WaitForWorker,
        BufferedReplay::NotBuffered => ReplayStep::ReadStream,
    };
    worker.flush();
    step
}

/// Reads a page from Redis and enqueues the entries that match the subscription.
async fn replay_page(
    context: &WorkerContext,
    key: usize,
    since: &Position,
    cursor: &mut EntryId,
    page_size: &mut PageSize,
) -> ReplayStep {
    match read_page(context, since, *cursor, page_size.entries()).await {
        // Redis has lost entries that this process has delivered. A new epoch is about to begin.
        Ok(Ok(page)) if page.is_empty() => ReplayStep::Retry,
        Ok(Ok(page)) => {
            context.replay_outages.record_success();
            let bytes = page.iter().filter_map(|entry| entry.entry.as_ref()).map(LiveEntry::bytes);
            let bytes: usize = bytes.sum();
            context.hub.replay_rate.record(page.len(), bytes);
            page_size.adapt(page.len(), bytes);
            *cursor = send_page(context, key, since, *cursor, page);
            ReplayStep::Advanced
        }
        Ok(Err(failure)) => {
            abandon_replay(context, key, failure);
            ReplayStep::Done
        }
        Err(error) => {
            context.replay_outages.record_failure(error);
            ReplayStep::Retry
        }
    }
}

/// Reads up to `entries` entries after the cursor. Returns a [`ResumeFailure`] if entries were
/// trimmed or belong to another epoch.
async fn read_page(
    context: &WorkerContext,
    since: &Position,
    cursor: EntryId,
    entries: usize,
) -> Result<Result<Vec<StreamEntry>, ResumeFailure>, HotError> {
    let Ok(_permit) = context.replay_reads.acquire().await else {
        return Ok(Err(ResumeFailure::Window));
    };
    let Some(page) = context.hot.message_stream().read_after(cursor, entries).await? else {
        return Ok(Err(ResumeFailure::Window));
    };
    // The entry at a position is in the position's epoch or is the last entry of the previous
    // epoch. A later entry from any other epoch therefore means that data was lost.
    let is_same_epoch = page.iter().all(|entry| *entry.epoch == *since.epoch);
    Ok(if is_same_epoch { Ok(page) } else { Err(ResumeFailure::DataLost) })
}

/// Enqueues the entries in a page that match the subscription, up to [`REPLAY_PAGE_BYTES`] in
/// total. A single entry may exceed this limit. Returns the ID of the last entry that was enqueued
/// or did not match, or `cursor` if the connection is no longer replaying.
fn send_page(
    context: &WorkerContext,
    key: usize,
    since: &Position,
    cursor: EntryId,
    page: Vec<StreamEntry>,
) -> EntryId {
    let mut worker = context.worker.borrow_mut();
    if worker.connections[key].stage != Stage::Replaying {
        return cursor;
    }
    let group_key = Rc::clone(&worker.connections[key].group_key);
    let (mut entries, mut bytes, mut end) = (Vec::new(), 0, cursor);
    for StreamEntry { id, entry, .. } in page {
        let subscribed = entry.filter(|entry| group_key.subscription.has_event(&entry.event));
        let entry_bytes = subscribed.as_ref().map_or(0, LiveEntry::bytes);
        if bytes > 0 && bytes + entry_bytes > REPLAY_PAGE_BYTES {
            break;
        }
        bytes += entry_bytes;
        end = id;
        entries.extend(subscribed);
    }
    if !entries.is_empty() {
        let before = Position { entry: cursor, ..since.clone() };
        let batch = Batch::encode(before, end, entries, &context.hub.memory);
        let all = EntrySet::From(0);
        if let Some(selection) = batch.select(group_key.encoding, &group_key.subscription, &all) {
            worker.enqueue_replay(key, selection);
            worker.flush();
        }
    }
    end
}

/// Sends `hello` with the reason for a failed replay, and starts live delivery.
fn abandon_replay(context: &WorkerContext, key: usize, failure: ResumeFailure) {
    let mut worker = context.worker.borrow_mut();
    if worker.connections[key].stage == Stage::Replaying {
        worker.start_live(key, Some(failure));
        worker.flush();
    }
}

/// Waits until the send queue has room for the next part of a replay. Returns false if the replay
/// has ended. If the connection holds a share of the budget, closes the connection when its client
/// stalls while other connections wait for the budget.
async fn wait_for_room(context: &WorkerContext, key: usize, has_share: bool) -> bool {
    loop {
        let room = poll_for_room(context, key);
        let Ok(has_room) = tokio::time::timeout(STALL_CHECK_INTERVAL, room).await else {
            if has_share && context.hub.replay_budget.is_exhausted() && is_stalled(context, key) {
                close_overloaded(context, key);
            }
            continue;
        };
        return has_room;
    }
}

fn is_stalled(context: &WorkerContext, key: usize) -> bool {
    let stalled_since = context.worker.borrow().connections[key].stalled_since;
    stalled_since.is_some_and(|at| at.elapsed() >= STALL_TIMEOUT)
}

async fn poll_for_room(context: &WorkerContext, key: usize) -> bool {
    poll_fn(|cx| {
        let mut worker = context.worker.borrow_mut();
        let connection = &mut worker.connections[key];
        if connection.stage != Stage::Replaying {
            return Poll::Ready(false);
        }
        if connection.is_ready_for_replay() {
            return Poll::Ready(true);
        }
        connection.register_replay(cx);
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use futures_util::FutureExt;

    use super::*;
    use crate::{
        frames::Encoding,
        hub::Hub,
        subscription::{NewSubscription, Subscription},
        worker::Sink,
        worker_event::WorkerEvent,
    };

    const SINCE_MILLIS: u64 = 5;

    fn position(millis: u64) -> Position {
        Position::new("e", EntryId { millis, number: 0 })
    }

    /// Returns a server that accepts connections but never responds.
    fn start_silent_redis() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").expect("a free port")
    }

    /// Starts a worker whose buffer does not contain the entries after `SINCE_MILLIS`.
    fn start_worker(redis: &TcpListener) -> Rc<WorkerContext> {
        let url = format!("redis://{}", redis.local_addr().expect("an address"));
        let env = [("MAYFLY_REDIS__URL", url.as_str())];
        let context = WorkerContext::start(&Hub::for_tests(&env));
        let newest = WorkerEvent::Repositioned(position(9), None);
        context.worker.borrow_mut().handle(newest);
        context
    }

    /// Registers a connection that replays a feed after `SINCE_MILLIS`.
    fn start_replay(context: &WorkerContext, feed: &str) -> usize {
        let feeds = Some(vec![feed.to_owned()]);
        let names = NewSubscription { feeds, ..NewSubscription::default() };
        let subscription = Subscription::try_from(names).expect("valid names");
        let mut worker = context.worker.borrow_mut();
        let key = worker.register_open(Sink::Sse(None), Encoding::Sse, subscription);
        worker.start_replay(key, &position(SINCE_MILLIS));
        key
    }

    #[actix_web::test]
    async fn stream_is_read_only_for_connections_that_receive_messages() {
        let redis = start_silent_redis();
        let context = start_worker(&redis);
        let first_step = |feed: &str| {
            let (key, since) = (start_replay(&context, feed), position(SINCE_MILLIS));
            let mut cursor = since.entry;
            let step = replay_step(&context, key, &since, &mut cursor);
            (step, context.worker.borrow().connections[key].stage)
        };
        assert_eq!(first_step("messages"), (ReplayStep::ReadStream, Stage::Replaying));
        assert_eq!(first_step("plays"), (ReplayStep::Done, Stage::Live));
    }

    #[actix_web::test]
    async fn replay_waits_for_the_rate_before_it_reads_the_stream() {
        let redis = start_silent_redis();
        let context = start_worker(&redis);
        // Returns whether a new replay reads, and whether it holds a share of the budget.
        let start = || {
            let key = start_replay(&context, "messages");
            let permits = context.replay_reads.available_permits();
            let mut replay = Box::pin(replay(&context, key, position(SINCE_MILLIS)));
            assert!(replay.as_mut().now_or_never().is_none());
            let budget = context.hub.replay_budget.acquire(usize::MAX).now_or_never();
            (context.replay_reads.available_permits() < permits, budget.is_none())
        };
        assert_eq!(start(), (true, true));
        // An hour at the maximum rate.
        context.hub.replay_rate.record(0, 3_600 * 64_000_000);
        assert_eq!(start(), (false, false));
    }
}
