//! What the connections of one thread share, and the task that brings them what comes.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use actix_web::rt;
use mayfly_core::{Clock, SystemClock};
use mayfly_hot::Hot;
use mayfly_runtime::every;
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    time::Duration,
};

use crate::{
    hub::{Hub, News},
    shard::{Shard, note_delivery},
};

/// How often connections are looked through for what is due.
const TICK: Duration = Duration::from_millis(250);
/// Bytes of batches that are put into queues until these are written: then sockets have their turn.
const TURN_BYTES: usize = 512 * 1024;
/// Bytes that are read from a socket in its turn: one large frame, or some small ones.
const SCRATCH_BYTES: usize = 4 * 1024;
/// Connections of a thread that ask Redis for what they missed at the same time.
const REPLAYS_MAX: usize = 16;

/// What the connections of one thread share. Borrowed between two points at which a task waits,
/// never across one.
pub(crate) struct Local {
    pub(crate) shard: RefCell<Shard>,
    /// Told whenever the shard moved on.
    pub(crate) advanced: Notify,
    /// Where bytes are read into before they are taken apart.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Redis, answered on this thread.
    pub(crate) hot: Hot,
    pub(crate) replays: Semaphore,
    pub(crate) hub: Arc<Hub>,
}

impl Local {
    /// Makes the shard of this thread, registers it, and brings it what comes from now on.
    pub(crate) fn start(hub: &Arc<Hub>) -> Rc<Self> {
        let (known, news) = hub.register();
        let mut shard = Shard::new(
            &hub.settings.fanout,
            hub.position_interval(),
            Arc::clone(&hub.delivered),
            Arc::clone(&hub.watched),
        );
        for one in known {
            shard.hear(one);
        }
        let local = Rc::new(Self {
            shard: RefCell::new(shard),
            advanced: Notify::new(),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
            hot: hub.hot.on_its_own(),
            replays: Semaphore::new(REPLAYS_MAX),
            hub: Arc::clone(hub),
        });
        rt::spawn(run(Rc::clone(&local), news));
        local
    }
}

async fn run(local: Rc<Local>, mut news: mpsc::Receiver<News>) {
    let mut ticks = every(TICK);
    loop {
        tokio::select! {
            // What comes is never kept waiting by what is due, nor the other way: both are short.
            first = news.recv() => match first {
                Some(first) => take(&local, first, &mut news),
                None => return,
            },
            _ = ticks.tick() => local.shard.borrow_mut().tick(Instant::now()),
        }
        // Sockets that became ready meanwhile have their turn.
        tokio::task::yield_now().await;
    }
}

/// Takes in what is there, up to a bound, then writes once.
fn take(local: &Local, first: News, news: &mut mpsc::Receiver<News>) {
    let mut shard = local.shard.borrow_mut();
    let (mut next, mut delivered, mut bytes) = (Some(first), None, 0);
    while let Some(one) = next {
        match &one {
            News::Batch(batch) => {
                bytes += batch.weight();
                if batch.len() > 0 {
                    delivered.get_or_insert_with(|| Arc::clone(batch));
                }
            }
            News::Plays(plays) => bytes += plays.weight(),
            News::Rising(rising) => bytes += rising.weight(),
            News::Moved(..) | News::State(_) | News::Drain(_) => {}
        }
        shard.hear(one);
        next = if bytes < TURN_BYTES { news.try_recv().ok() } else { None };
    }
    shard.flush();
    if let Some(batch) = delivered {
        note_delivery(&batch, SystemClock.now().as_millis());
    }
    drop(shard);
    local.advanced.notify_waiters();
}
