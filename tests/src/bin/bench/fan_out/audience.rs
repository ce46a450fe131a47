//! Those who read: many sockets, on as few threads as can be, with one buffer a thread. They count
//! messages, and look at the stamp of a few.

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
    frames::{Seen, Walker, pong},
    handshake, stamp,
};
use crate::{cores, statistics::percentile};

/// One message in so many is looked at, another one by each socket.
const SAMPLE_EVERY: u64 = 31;
/// What is read at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// Between two looks at whether everything was heard.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The latency that half, and 99 in a hundred, stay below.
pub type Latency = (Duration, Duration);

/// Sockets that are connected to one server.
#[derive(Debug)]
pub struct Audience {
    heard: Arc<Heard>,
    /// Dropping them ends the threads.
    _ends: Vec<oneshot::Sender<()>>,
}

/// What was heard, by socket and in all.
#[derive(Debug)]
struct Heard {
    ears: Vec<Ear>,
    latencies_us: Mutex<Vec<u32>>,
}

#[derive(Debug, Default)]
struct Ear {
    messages: AtomicU64,
    is_closed: AtomicBool,
}

impl Audience {
    /// Connects everyone to `host:port`.
    pub async fn gather(address: &str) -> anyhow::Result<Self> {
        let ears = (0..SOCKETS).map(|_| Ear::default()).collect();
        let heard = Arc::new(Heard { ears, latencies_us: Mutex::default() });
        let mut seats = Vec::new();
        for number in 0..SOCKETS {
            let (stream, begun) = handshake::connect(address).await?;
            seats.push((number, stream.into_std()?, begun));
        }
        let mut ends = Vec::new();
        let threads = (cores() / 2).max(1);
        while !seats.is_empty() {
            let share = seats.split_off(seats.len() - seats.len().min(SOCKETS.div_ceil(threads)));
            let (end, ended) = oneshot::channel();
            let heard = heard.clone();
            thread::Builder::new().spawn(move || listen_all(&heard, share, ended))?;
            ends.push(end);
        }
        Ok(Self { heard, _ends: ends })
    }

    /// Begins to count anew.
    pub fn forget(&self) {
        for ear in &self.heard.ears {
            ear.messages.store(0, Relaxed);
        }
        self.heard.latencies().clear();
    }

    /// Waits until everyone has heard so many messages; says whether they did in time.
    pub async fn hear(&self, messages: u64, within: Duration) -> bool {
        let until = Instant::now() + within;
        let all = || self.heard.ears.iter().all(|ear| ear.messages.load(Relaxed) == messages);
        while !all() {
            if Instant::now() > until || !self.is_whole() {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Whether nobody was sent away.
    pub fn is_whole(&self) -> bool {
        !self.heard.ears.iter().any(|ear| ear.is_closed.load(Relaxed))
    }

    /// How late messages were.
    pub fn latency(&self) -> Latency {
        let mut latencies_us = self.heard.latencies().clone();
        latencies_us.sort_unstable();
        (percentile(&latencies_us, 50), percentile(&latencies_us, 99))
    }
}

impl Heard {
    fn latencies(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens on some sockets until told to end.
fn listen_all(
    heard: &Arc<Heard>,
    seats: Vec<(usize, StdTcpStream, Vec<u8>)>,
    ended: oneshot::Receiver<()>,
) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let tasks = LocalSet::new();
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER_BYTES]));
    for (number, stream, begun) in seats {
        let (heard, buffer) = (heard.clone(), buffer.clone());
        tasks.spawn_local(async move {
            let listener = TcpStream::from_std(stream).map(|stream| Listener::new(number, stream));
            if let Ok(mut listener) = listener {
                listener.take(&begun, &heard);
                let _broken = listener.listen(&heard, &buffer).await;
            }
            heard.ears[number].is_closed.store(true, Relaxed);
        });
    }
    let runtime = runtime.expect("a runtime can be made");
    let _ended = tasks.block_on(&runtime, ended);
}

/// One socket.
struct Listener {
    number: usize,
    stream: TcpStream,
    walker: Walker,
    until_sample: u64,
    pongs: Vec<u8>,
    is_closed: bool,
}

impl Listener {
    fn new(number: usize, stream: TcpStream) -> Self {
        Self {
            number,
            stream,
            walker: Walker::default(),
            until_sample: number as u64 % SAMPLE_EVERY,
            pongs: Vec::new(),
            is_closed: false,
        }
    }

    async fn listen(&mut self, heard: &Heard, buffer: &RefCell<Vec<u8>>) -> io::Result<()> {
        while !self.is_closed {
            poll_fn(|cx| self.poll_read(cx, heard, &mut buffer.borrow_mut())).await?;
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
        heard: &Heard,
        buffer: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.is_closed = read.filled().is_empty();
        self.take(read.filled(), heard);
        Poll::Ready(Ok(()))
    }

    /// Counts the messages in what was read.
    fn take(&mut self, bytes: &[u8], heard: &Heard) {
        let mut messages = 0;
        self.walker.walk(bytes, |seen| match seen {
            Seen::Message(whole) => {
                messages += 1;
                if self.until_sample > 0 {
                    self.until_sample -= 1;
                } else if let Some(age) = whole.and_then(stamp::age) {
                    self.until_sample = SAMPLE_EVERY - 1;
                    let age = u32::try_from(age.as_micros()).unwrap_or(u32::MAX);
                    heard.latencies().push(age);
                }
            }
            Seen::Ping(payload) => self.pongs.extend(pong(payload)),
            Seen::Close => self.is_closed = true,
        });
        heard.ears[self.number].messages.fetch_add(messages, Relaxed);
    }
}
