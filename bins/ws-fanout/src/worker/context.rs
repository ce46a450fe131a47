//! The event loop of a worker, and the state that the worker shares with the tasks of its
//! connections.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use actix_web::rt;
use mayfly_core::Clock;
use mayfly_hot::HotStore;
use mayfly_runtime::{OutageLog, exit_on_panic, ticker};
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    time::Duration,
};

use super::{Worker, delivery::record_delivery_latency, rechecks::run_rechecks};
use crate::{
    hub::{Hub, SentEvent},
    worker_event::WorkerEvent,
};

/// Interval at which the timers of all connections are checked.
const TICK_INTERVAL: Duration = Duration::from_millis(250);
/// Total size of the events that a worker handles before it flushes the send queues and reads the
/// sockets again.
const EVENT_BYTES_PER_FLUSH: usize = 512 * 1024;
/// Maximum size of a socket read: one large frame, or several small frames.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Maximum number of concurrent Redis reads for the resuming connections of a worker.
const REPLAY_READS_MAX: usize = 16;

/// The state that a worker and its connections share. No borrow of a cell extends across an await
/// point.
pub(crate) struct WorkerContext {
    pub(crate) worker: RefCell<Worker>,
    /// Notified after the worker has handled events.
    pub(crate) advanced: Notify,
    /// Notified when credentials must be checked again although no key and no revocation has
    /// changed in the meantime.
    pub(crate) recheck_needed: Notify,
    /// Buffer for socket reads, shared by all connections.
    pub(crate) read_buffer: RefCell<Box<[u8]>>,
    /// A store with its own Redis connections, which are served on this thread.
    pub(crate) hot: HotStore,
    pub(crate) replay_reads: Semaphore,
    /// The log of failed Redis reads for clients that resume.
    pub(crate) replay_outages: OutageLog,
    pub(crate) hub: Arc<Hub>,
}

impl WorkerContext {
    /// Creates the worker of this thread, registers it with the hub and starts its event loop.
    pub(crate) fn start(hub: &Arc<Hub>) -> Rc<Self> {
        let (number, current_state, events) = hub.register();
        let mut worker = Worker::new(number, hub);
        for event in current_state {
            worker.handle(event);
        }
        let context = Rc::new(Self {
            worker: RefCell::new(worker),
            advanced: Notify::new(),
            recheck_needed: Notify::new(),
            read_buffer: RefCell::new(vec![0; READ_BUFFER_BYTES].into()),
            hot: hub.hot.with_dedicated_connections(),
            replay_reads: Semaphore::new(REPLAY_READS_MAX),
            replay_outages: OutageLog::new("read messages for clients that resume"),
            hub: Arc::clone(hub),
        });
        rt::spawn(run_event_loop(Rc::clone(&context), events));
        let rechecks = run_rechecks(Rc::clone(&context));
        rt::spawn(exit_on_panic("check the credentials of connections again", rechecks));
        context
    }

    /// Requests another check if keys or revocations have changed since the credentials of a
    /// connection were checked. Called after the connection has accepted the credentials, because
    /// the check after the change did not include the connection yet.
    pub(crate) fn recheck_if_outdated(&self, key: usize) {
        let newest = *self.hub.authenticator.changes().borrow();
        if self.worker.borrow().connections[key].credential.is_unchecked(newest) {
            self.recheck_needed.notify_one();
        }
    }
}

async fn run_event_loop(context: Rc<WorkerContext>, mut events: mpsc::Receiver<SentEvent>) {
    let mut ticks = ticker(TICK_INTERVAL);
    loop {
        tokio::select! {
            // All branches finish quickly, so none delays the others.
            event = events.recv() => match event {
                Some(event) => handle_events(&context, event, &mut events),
                None => return,
            },
            _ = ticks.tick() => context.worker.borrow_mut().tick(Instant::now()),
            () = context.hub.memory.wait_until_exceeded() => context.worker.borrow_mut().flush(),
        }
        // Let the tasks of ready sockets run.
        tokio::task::yield_now().await;
    }
}

/// Handles the waiting events, up to a size limit, then flushes once.
fn handle_events(
    context: &WorkerContext,
    first: SentEvent,
    events: &mut mpsc::Receiver<SentEvent>,
) {
    let mut worker = context.worker.borrow_mut();
    let (mut next, mut first_batch, mut bytes) = (Some(first), None, 0);
    while let Some(SentEvent { event, .. }) = next {
        bytes += event.size_bytes();
        if let WorkerEvent::Batch(batch) = &event
            && batch.len() > 0
        {
            first_batch.get_or_insert_with(|| Arc::clone(batch));
        }
        worker.handle(event);
        next = if bytes < EVENT_BYTES_PER_FLUSH { events.try_recv().ok() } else { None };
    }
    worker.flush();
    if let Some(batch) = first_batch {
        record_delivery_latency(&batch, context.hot.clock().now().as_millis());
    }
    drop(worker);
    context.advanced.notify_waiters();
}
