//! Follows the feed `plays` as a page does, and remembers what it is told of the videos of a run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::published::Published;
use crate::commands::tail::{Address, Connection, Ending, Frame};
use crate::output::remark;

const FEED: &str = "plays";
/// How long it may take until the feed is followed.
const GREETED_WITHIN: Duration = Duration::from_secs(10);
/// A connection that lasted so long was a good one: the next pause is a short one again.
const STEADY_AFTER: Duration = Duration::from_secs(5);

/// A subscription, which ends with this.
#[derive(Debug)]
pub(super) struct Subscriber {
    published: Arc<Mutex<Published>>,
    _following: AbortOnDropHandle<()>,
}

impl Subscriber {
    /// Follows the feed; returns when the server has greeted.
    pub(super) async fn start(url: &str, videos: &[String]) -> Result<Self> {
        let address = Address::of_feed(url, FEED)?;
        let published = Arc::new(Mutex::new(Published::new(videos)));
        let (greeting, mut greeted) = watch::channel(false);
        let following =
            AbortOnDropHandle::new(tokio::spawn(follow(address, published.clone(), greeting)));
        match timeout(GREETED_WITHIN, greeted.wait_for(|greeted| *greeted)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => {
                bail!("{url}: {}", lock(&published).cuts.join(", "));
            }
            Err(_) => bail!("{url} did not greet within {GREETED_WITHIN:?}"),
        }
        Ok(Self { published, _following: following })
    }

    /// What was published so far.
    pub(super) fn published(&self) -> MutexGuard<'_, Published> {
        lock(&self.published)
    }
}

fn lock(published: &Mutex<Published>) -> MutexGuard<'_, Published> {
    published.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows the feed over as many connections as it takes, until no further try makes sense.
async fn follow(address: Address, published: Arc<Mutex<Published>>, greeting: watch::Sender<bool>) {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        let ending = follow_once(&address, &published, &greeting).await;
        lock(&published).cuts.push(ending.to_string());
        if began.elapsed() >= STEADY_AFTER {
            failures = 0;
        }
        let Some(pause) = ending.pause(failures, fastrand::f64()) else {
            remark(&format!("{}: {ending}", address.describe()));
            return;
        };
        remark(&format!("{ending}; trying again in {:.1} s", pause.as_secs_f64()));
        failures += 1;
        sleep(pause).await;
    }
}

async fn follow_once(
    address: &Address,
    published: &Mutex<Published>,
    greeting: &watch::Sender<bool>,
) -> Ending {
    let mut connection = match Connection::open(&address.behind(None)).await {
        Ok(connection) => connection,
        Err(ending) => return ending,
    };
    loop {
        let text = match connection.next().await {
            Ok(text) => text,
            Err(ending) => return ending,
        };
        let Some(frame) = Frame::parse(&text) else { continue };
        match &*frame.kind {
            "hello" => {
                if let Some(interval) = frame.ping_interval() {
                    connection.expect_pings(interval);
                }
                greeting.send_replace(true);
            }
            "plays" => lock(published).take(&frame.counts),
            "gap" => {
                let dropped = frame.dropped.unwrap_or(0);
                lock(published).cuts.push(format!("{dropped} frames came too fast"));
            }
            _ => {}
        }
    }
}
