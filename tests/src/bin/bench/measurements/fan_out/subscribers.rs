//! Many subscribers on as few threads as possible, with one buffer per thread. They count messages
//! and parse the timestamps of a sample.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::TcpStream as StdTcpStream,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    runtime::Builder,
    sync::oneshot,
    task::LocalSet,
};

use super::{
    SOCKETS,
    frames::{FrameScanner, ScannedFrame, pong},
    handshake, timestamp,
};
use crate::{cores, report::percentile};

/// Each socket samples every n-th message, with a different offset.
const SAMPLE_EVERY: u64 = 31;
const BUFFER_BYTES: usize = 256 * 1024;
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A connected socket with its number and the bytes received after the handshake.
type Connected = (usize, StdTcpStream, Vec<u8>);

/// The p50 and p99 latency.
pub type Latency = (Duration, Duration);

/// Sockets that are connected to one server.
#[derive(Debug)]
pub struct Subscribers {
    received: Arc<Received>,
    /// Dropping the senders stops the threads.
    _stop: Vec<oneshot::Sender<()>>,
}

/// The counters of all sockets and the sampled latencies.
#[derive(Debug)]
struct Received {
    sockets: Vec<SocketCounters>,
    latencies_us: Mutex<Vec<u32>>,
}

#[derive(Debug, Default)]
struct SocketCounters {
    messages: AtomicU64,
    is_closed: AtomicBool,
}

impl Subscribers {
    /// Connects all sockets to an address, `host:port`. `authorization` is a header line, or empty.
    pub async fn connect(address: &str, authorization: &str) -> anyhow::Result<Self> {
        let sockets = (0..SOCKETS).map(|_| SocketCounters::default()).collect();
        let received = Arc::new(Received { sockets, latencies_us: Mutex::default() });
        let mut connected = Vec::new();
        for number in 0..SOCKETS {
            let (stream, rest) = handshake::connect(address, authorization).await?;
            connected.push((number, stream.into_std()?, rest));
        }
        let mut stop = Vec::new();
        let threads = (cores() / 2).max(1);
        while !connected.is_empty() {
            let share_size = connected.len().min(SOCKETS.div_ceil(threads));
            let share = connected.split_off(connected.len() - share_size);
            let (stop_sender, stopped) = oneshot::channel();
            let received = received.clone();
            thread::Builder::new().spawn(move || run_thread(&received, share, stopped))?;
            stop.push(stop_sender);
        }
        Ok(Self { received, _stop: stop })
    }

    /// Resets all counters and latencies.
    pub fn reset(&self) {
        for socket in &self.received.sockets {
            socket.messages.store(0, Relaxed);
        }
        self.received.latencies().clear();
    }

    /// Waits until every socket has received this many messages. Returns whether that happened in
    /// time.
    pub async fn wait_for(&self, messages: u64, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let is_complete =
            || self.received.sockets.iter().all(|socket| socket.messages.load(Relaxed) == messages);
        while !is_complete() {
            if Instant::now() > deadline || !self.all_connected() {
                return false;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        true
    }

    /// Returns whether all sockets are still connected.
    pub fn all_connected(&self) -> bool {
        !self.received.sockets.iter().any(|socket| socket.is_closed.load(Relaxed))
    }

    /// Returns the latency of the sampled messages.
    pub fn latency(&self) -> Latency {
        let mut latencies_us = self.received.latencies().clone();
        latencies_us.sort_unstable();
        (percentile(&latencies_us, 50), percentile(&latencies_us, 99))
    }
}

impl Received {
    fn latencies(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads from a share of the sockets until the sender of `stopped` is dropped.
fn run_thread(received: &Arc<Received>, share: Vec<Connected>, stopped: oneshot::Receiver<()>) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let tasks = LocalSet::new();
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER_BYTES]));
    for (number, stream, rest) in share {
        let (received, buffer) = (received.clone(), buffer.clone());
        tasks.spawn_local(async move {
            let listener = TcpStream::from_std(stream).map(|stream| Listener::new(number, stream));
            if let Ok(mut listener) = listener {
                listener.count(&rest, &received);
                let _disconnected = listener.run(&received, &buffer).await;
            }
            received.sockets[number].is_closed.store(true, Relaxed);
        });
    }
    let runtime = runtime.expect("the runtime is built");
    let _stopped = tasks.block_on(&runtime, stopped);
}

/// The reader of one socket.
struct Listener {
    number: usize,
    stream: TcpStream,
    scanner: FrameScanner,
    until_sample: u64,
    pongs: Vec<u8>,
    is_closed: bool,
}

impl Listener {
    fn new(number: usize, stream: TcpStream) -> Self {
        Self {
            number,
            stream,
            scanner: FrameScanner::default(),
            until_sample: number as u64 % SAMPLE_EVERY,
            pongs: Vec::new(),
            is_closed: false,
        }
    }

    async fn run(&mut self, received: &Received, buffer: &RefCell<Vec<u8>>) -> io::Result<()> {
        while !self.is_closed {
            poll_fn(|cx| self.poll_read(cx, received, &mut buffer.borrow_mut())).await?;
            if !self.pongs.is_empty() {
                self.stream.write_all(&self.pongs).await?;
                self.pongs.clear();
            }
        }
        Ok(())
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        received: &Received,
        buffer: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.is_closed = read.filled().is_empty();
        self.count(read.filled(), received);
        Poll::Ready(Ok(()))
    }

    /// Counts the messages in the received bytes.
    fn count(&mut self, bytes: &[u8], received: &Received) {
        let mut messages = 0;
        self.scanner.scan(bytes, |frame| match frame {
            ScannedFrame::Message(complete) => {
                messages += 1;
                if self.until_sample > 0 {
                    self.until_sample -= 1;
                } else if let Some(age) = complete.and_then(timestamp::age) {
                    self.until_sample = SAMPLE_EVERY - 1;
                    let age = u32::try_from(age.as_micros()).unwrap_or(u32::MAX);
                    received.latencies().push(age);
                }
            }
            ScannedFrame::Ping(payload) => self.pongs.extend(pong(payload)),
            ScannedFrame::Close => self.is_closed = true,
        });
        received.sockets[self.number].messages.fetch_add(messages, Relaxed);
    }
}
