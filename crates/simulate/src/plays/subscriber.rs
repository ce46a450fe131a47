//! Follows the `plays` feed as a web page does, and collects the counts of the simulated videos.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mayfly_live_client::terminal::print_err;
use mayfly_live_client::{Connection, Disconnect, FeedAddress, Frame, KeyFile, ReconnectBackoff};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::published_counts::PublishedCounts;

const FEED: &str = "plays";
/// The maximum time to wait for the first `hello` frame.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A subscription to the feed. The subscription ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Subscriber {
    published: Arc<Mutex<PublishedCounts>>,
    _task: AbortOnDropHandle<()>,
}

impl Subscriber {
    /// Subscribes and waits for the `hello` frame.
    pub(super) async fn start(
        url: &str,
        key_file: Option<KeyFile>,
        videos: &[String],
    ) -> Result<Self> {
        let address = FeedAddress::with_feed(url, FEED)?;
        let published = Arc::new(Mutex::new(PublishedCounts::new(videos)));
        let (hello_sender, mut hello) = watch::channel(false);
        let follow = follow(address, key_file, published.clone(), hello_sender);
        let task = AbortOnDropHandle::new(tokio::spawn(follow));
        match timeout(HELLO_TIMEOUT, hello.wait_for(|received| *received)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => bail!("{url}: {}", published.lock().interruptions.join(", ")),
            Err(_) => bail!("{url} did not send a hello frame within {HELLO_TIMEOUT:?}"),
        }
        Ok(Self { published, _task: task })
    }

    /// Returns the counts published so far.
    pub(super) fn published(&self) -> MutexGuard<'_, PublishedCounts> {
        self.published.lock()
    }
}

/// Follows the feed. Reconnects after a disconnect, unless the reason is permanent.
async fn follow(
    address: FeedAddress,
    mut key_file: Option<KeyFile>,
    published: Arc<Mutex<PublishedCounts>>,
    hello: watch::Sender<bool>,
) {
    let mut backoff = ReconnectBackoff::default();
    loop {
        let started = Instant::now();
        let disconnect = follow_once(&address, key_file.as_mut(), &published, &hello).await;
        published.lock().interruptions.push(disconnect.to_string());
        let Some(delay) = backoff.next_delay(&disconnect, started.elapsed()) else {
            print_err(&format!("{address}: {disconnect}"));
            return;
        };
        print_err(&format!("{disconnect}; reconnecting in {:.1} s", delay.as_secs_f64()));
        sleep(delay).await;
    }
}

async fn follow_once(
    address: &FeedAddress,
    key_file: Option<&mut KeyFile>,
    published: &Mutex<PublishedCounts>,
    hello: &watch::Sender<bool>,
) -> Disconnect {
    let credentials = key_file.map(KeyFile::refresh);
    let mut connection = match Connection::open(&address.connection_url(None), credentials).await {
        Ok(connection) => connection,
        Err(disconnect) => return disconnect,
    };
    loop {
        let text = match connection.next_frame().await {
            Ok(text) => text,
            Err(disconnect) => return disconnect,
        };
        let Some(frame) = Frame::parse(&text) else { continue };
        if let Some(error) = frame.error() {
            print_err(&format!("{address}: {error}"));
            published.lock().interruptions.push(error.to_string());
        }
        match &*frame.kind {
            "hello" => {
                if let Some(interval) = frame.ping_interval() {
                    connection.set_ping_interval(interval);
                }
                hello.send_replace(true);
            }
            "plays" => published.lock().add_frame(&frame.counts),
            "gap" => {
                let dropped = frame.dropped.unwrap_or(0);
                let reason = format!("the server dropped {dropped} frames");
                published.lock().interruptions.push(reason);
            }
            _ => {}
        }
    }
}
