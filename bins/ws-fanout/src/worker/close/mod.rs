//! Closes connections: at the request of the server or the client, during a drain, or to free
//! memory.

mod drain;

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mayfly_core::frame::{ErrorFrame, ServerFrame};
use metrics::counter;
use tracing::{debug, warn};

pub(super) use self::drain::DrainSchedule;
use super::{
    Worker,
    connection::{Connection, Stage, wake},
};
use crate::{
    frames::{Encoding, encode_json, encode_sse_retry, find_sse_event},
    hub::CLOSE_TIMEOUT,
    metrics as names,
    subscription::Subscription,
    websocket::{Close, CloseCode, encode_close, find_frame},
};

/// Range of the random delay before a client reconnects after a drain, in milliseconds.
pub(crate) const DRAIN_RETRY_MS: RangeInclusive<u64> = 100..=2_000;
/// Minimum pause between two searches for the largest connections. Each search visits all
/// connections of the worker.
const CLOSES_PAUSE: Duration = Duration::from_millis(10);
/// The factor by which the memory of a connection without authentication counts more in the search
/// for the largest connections. The first frame of such a connection then counts like a full send
/// queue, so that clients without credentials cannot cause others to be disconnected.
const UNAUTHENTICATED_WEIGHT: usize = 128;

impl Worker {
    /// Closes a connection from the server side. The worker drops a connection that is still
    /// closing after [`CLOSE_TIMEOUT`]. If there is a [`discard_reason`] for the code, discards the
    /// queued frames, except for the rest of a partially written WebSocket frame.
    pub(crate) fn close(&mut self, key: usize, close: &Close) {
        self.close_with(key, close, None, discard_reason(close.code));
    }

    /// Closes a connection whose credentials are no longer valid. Discards the queued frames as
    /// [`Self::close`] does, because the client has no right to them any more, and because a client
    /// that reads slowly would receive the Close frame late.
    pub(super) fn close_unauthorized(&mut self, key: usize, close: &Close) {
        self.close_with(key, close, None, Some("unauthorized"));
    }

    /// Closes a connection. If `retry_after_ms` is present, an `EventSource` reconnects after this
    /// delay, in milliseconds. If `discard_reason` is present, discards the queued frames.
    fn close_with(
        &mut self,
        key: usize,
        close: &Close,
        retry_after_ms: Option<u64>,
        discard_reason: Option<&'static str>,
    ) {
        if !self.connections[key].is_open() {
            return;
        }
        let connection = &self.connections[key];
        debug!(
            connection.id = %connection.id,
            close.code = close.code.number(),
            close.reason = close.reason,
            "closing the connection"
        );
        self.count_close(key, &close.code.number().to_string());
        let frame = match self.connections[key].group_key.encoding {
            Encoding::WebSocket => encode_close(close),
            // An event stream has no Close frame, and no event can prevent an `EventSource` from
            // reconnecting.
            Encoding::Sse => match retry_after_ms {
                Some(retry_after_ms) => encode_sse_retry(retry_after_ms),
                None => encode_last_event(close),
            },
        };
        self.start_close(key, frame, discard_reason);
    }

    /// Completes the close handshake that the client started, with `reply` as the Close frame.
    pub(crate) fn close_by_client(&mut self, key: usize, code: Option<u16>, reply: Bytes) {
        if !self.connections[key].is_open() {
            return;
        }
        let label = match code {
            Some(1000) => "1000",
            Some(1001) => "1001",
            None => "1005",
            Some(_) => "other",
        };
        self.count_close(key, label);
        self.connections[key].is_close_handshake_done = true;
        self.start_close(key, reply, None);
    }

    fn count_close(&mut self, key: usize, code: &str) {
        self.connections[key].is_close_counted = true;
        count_closed(code);
    }

    fn start_close(&mut self, key: usize, frame: Bytes, discard_reason: Option<&'static str>) {
        self.leave_group(key);
        self.connections[key].stage = Stage::Closing;
        // The names in the subscription, the patterns of the credentials, and the input, which the
        // session discards next, no longer count. Otherwise, closing a connection to free memory
        // would not appear to free it, and smaller connections would be closed as well.
        self.replace_subscription(key, Subscription::none());
        let connection = &mut self.connections[key];
        connection.credential.discard();
        connection.input.set(0);
        connection.close_deadline = Some(Instant::now() + CLOSE_TIMEOUT);
        connection.forbidden = None;
        connection.gap = None;
        connection.pending_states = Vec::new();
        if let Some(reason) = discard_reason {
            let dropped = match connection.group_key.encoding {
                Encoding::WebSocket => connection.send_queue.discard(find_frame),
                Encoding::Sse => connection.send_queue.discard(find_sse_event),
            };
            counter!(names::FRAMES_DROPPED_TOTAL, "reason" => reason).increment(dropped as u64);
        }
        wake(&mut connection.replay_waker);
        wake(&mut connection.task_waker);
        if !frame.is_empty() {
            self.enqueue(key, frame, 0);
        }
    }

    /// Closes the connections of this worker that hold the most memory, until the limit is no
    /// longer exceeded or another worker may have a larger connection. The memory of connections
    /// without authentication counts [`UNAUTHENTICATED_WEIGHT`] times.
    pub(super) fn close_largest(&mut self) {
        let now = Instant::now();
        if self.next_closes_at.is_some_and(|at| now < at) {
            return;
        }
        self.next_closes_at = Some(now + CLOSES_PAUSE);
        let mut sizes: Vec<_> = self
            .keys(|connection| connection.stage != Stage::Closed)
            .map(|key| (weigh(&self.connections[key]), key))
            .collect();
        sizes.sort_unstable();
        let mut closed = 0;
        while self.memory.is_exceeded() {
            let (bytes, key) = sizes.pop().unwrap_or_default();
            if !self.memory.report_largest(self.number, bytes) || bytes == 0 {
                break;
            }
            self.close_to_free_memory(key);
            closed += 1;
        }
        // If the limit is still exceeded, the other workers must report their largest connections.
        self.memory.notify_exceeded();
        if let Some(connections) = self.memory.record_closes(closed, now) {
            warn!(
                connections,
                bytes = self.memory.bytes(),
                bytes.max = self.settings.queued_bytes_max,
                "connections: fanout.queued_bytes_max was reached because clients are not reading \
                 or send incomplete frames; closed the connections that hold the most memory"
            );
        }
    }

    /// Closes a connection, or drops the connection if it is already closing.
    fn close_to_free_memory(&mut self, key: usize) {
        if self.connections[key].is_open() {
            counter!(names::MEMORY_CLOSES_TOTAL).increment(1);
            self.close(key, &CloseCode::SlowConsumer.into());
        } else {
            counter!(names::CLOSE_TIMEOUTS_TOTAL).increment(1);
            self.connections[key].mark_closed();
        }
    }

    /// Once the memory limit is no longer exceeded, withdraws the report of this worker's largest
    /// connection.
    pub(super) fn end_closing_largest(&mut self) {
        if self.next_closes_at.is_some() && !self.memory.is_exceeded() {
            self.next_closes_at = None;
            self.memory.withdraw_largest(self.number);
        }
    }

    /// Starts closing all connections, spread evenly over this duration.
    pub(super) fn start_drain(&mut self, duration: Duration) {
        self.drain = Some(DrainSchedule::start(duration, self.connections.len()));
    }

    /// Closes the connections that are due in a drain.
    pub(super) fn continue_drain(&mut self, now: Instant) {
        let Some(drain) = &self.drain else { return };
        let due = drain.count_due(now);
        let keys: Vec<_> = self.keys(Connection::is_open).take(due).collect();
        if let Some(drain) = &mut self.drain {
            drain.add_closed(keys.len());
        }
        for key in keys {
            let retry_after_ms = fastrand::u64(DRAIN_RETRY_MS);
            let reason = format!("retry_after_ms={retry_after_ms}");
            let close = Close::with_reason(CloseCode::GoingAway, reason);
            self.close_with(key, &close, Some(retry_after_ms), None);
        }
        self.flush();
    }
}

/// Returns the memory that a connection holds, in bytes, multiplied by its weight.
fn weigh(connection: &Connection) -> usize {
    let weight = if connection.credential.is_authenticated() { 1 } else { UNAUTHENTICATED_WEIGHT };
    connection.memory_bytes().saturating_mul(weight)
}

/// Returns the last event of a stream: an `error` frame if the credentials are no longer valid, so
/// that the client can open another stream with new ones. Otherwise, returns no bytes.
fn encode_last_event(close: &Close) -> Bytes {
    let message = match close.code {
        CloseCode::TokenExpired => "the token has expired",
        CloseCode::Revoked => "the credentials are no longer valid",
        _ => return Bytes::new(),
    };
    let frame = ErrorFrame {
        code: close.code.as_str(),
        message: message.to_owned(),
        ..ErrorFrame::default()
    };
    let mut event = Vec::new();
    encode_json(&mut event, Encoding::Sse, None, &ServerFrame::Error(frame).to_json());
    event.into()
}

/// Returns the reason for discarding the queued frames of a connection that is closed with this
/// code, as a label of [`names::FRAMES_DROPPED_TOTAL`]. Returns `None` if the frames are kept.
fn discard_reason(code: CloseCode) -> Option<&'static str> {
    match code {
        CloseCode::SlowConsumer => Some("slow_consumer"),
        CloseCode::Overloaded => Some("overloaded"),
        _ => None,
    }
}

pub(super) fn count_closed(code: &str) {
    counter!(names::CONNECTIONS_CLOSED_TOTAL, "code" => code.to_owned()).increment(1);
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net, rc::Rc, sync::Arc};

    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        hub::Hub, subscription::NewSubscription, websocket::encode_text, worker::connection::Sink,
    };

    const KIB: usize = 1024;
    /// Size of the payload of a frame, in bytes. The kernel can buffer only some of these frames.
    const FRAME: usize = 50 * KIB;

    fn start_hub(queued_bytes_max: &str) -> Arc<Hub> {
        Hub::for_tests(&[("MAYFLY_FANOUT__QUEUED_BYTES_MAX", queued_bytes_max)])
    }

    /// Opens a connection whose client does not read.
    async fn connect(worker: &mut Worker) -> (usize, net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let client = tokio::net::TcpSocket::new_v4().expect("a socket");
        client.set_recv_buffer_size(16 * 1024).expect("the size is set");
        let (client, accepted) = tokio::join!(client.connect(address), listener.accept());
        let (socket, _) = accepted.expect("the connection is accepted");
        SockRef::from(&socket).set_send_buffer_size(64 * KIB).expect("the size is set");
        socket.writable().await.expect("the connection is open");
        let sink = Sink::Socket(Rc::new(socket));
        let key = worker.register_open(sink, Encoding::WebSocket, Subscription::none());
        worker.connections[key].stage = Stage::Live;
        let client = client.expect("the connection is open").into_std().expect("a socket");
        client.set_nonblocking(false).expect("the socket blocks");
        (key, client)
    }

    /// Queues frames that no other connection shares.
    fn fill(worker: &mut Worker, key: usize, frames: usize) {
        let mut buffer = Vec::with_capacity(frames * (FRAME + 4));
        for _ in 0..frames {
            encode_text(&mut buffer, |buffer| buffer.resize(buffer.len() + FRAME, b'x'));
        }
        let bytes = worker.memory.share(buffer);
        worker.enqueue(key, bytes, frames);
    }

    /// Reads frames until the Close frame, and returns the number of frames and the close code.
    fn read_until_close(client: &mut net::TcpStream) -> (usize, u16) {
        for frames in 0.. {
            let mut header = [0; 4];
            client.read_exact(&mut header).expect("a frame");
            if header[0] == 0x88 {
                return (frames, u16::from_be_bytes([header[2], header[3]]));
            }
            assert_eq!(header, [0x81, 126, 0xC8, 0x00], "a frame of {FRAME} bytes");
            client.read_exact(&mut vec![0; FRAME]).expect("a complete frame");
        }
        unreachable!("the range is infinite")
    }

    #[test]
    fn discarded_frames_are_counted_with_the_reason_for_the_close() {
        let codes = [CloseCode::SlowConsumer, CloseCode::Overloaded, CloseCode::NoPong];
        let reasons = codes.map(discard_reason);
        assert_eq!(reasons, [Some("slow_consumer"), Some("overloaded"), None]);
    }

    #[tokio::test]
    async fn largest_queue_is_closed_first_and_its_client_reads_complete_frames() {
        let hub = start_hub("2MiB");
        let mut worker = Worker::new(hub.register().0, &hub);
        let (small, _small_client) = connect(&mut worker).await;
        let (large, mut large_client) = connect(&mut worker).await;
        let (middle, _middle_client) = connect(&mut worker).await;
        for (key, frames) in [(small, 8), (large, 20), (middle, 12)] {
            fill(&mut worker, key, frames);
            worker.flush();
        }
        let open = |worker: &Worker, key: usize| worker.connections[key].is_open();
        assert_eq!([small, large, middle].map(|key| open(&worker, key)), [true, true, true]);
        fill(&mut worker, small, 3);
        worker.flush();
        assert_eq!([small, large, middle].map(|key| open(&worker, key)), [true, false, true]);
        assert!(!hub.memory.is_exceeded());
        // Only the rest of one frame is left.
        let rest = worker.connections[large].send_queue.bytes();
        assert!(rest <= FRAME + 32, "{rest}");
        let reading = tokio::task::spawn_blocking(move || read_until_close(&mut large_client));
        while !reading.is_finished() {
            worker.flush_connection(large);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (frames, code) = reading.await.expect("the client reads frames");
        assert!((1..20).contains(&frames) && code == 4000, "{frames} frames, {code}");
    }

    #[tokio::test]
    async fn closing_a_connection_frees_its_input_and_names() {
        let hub = start_hub("1MiB");
        let mut worker = Worker::new(hub.register().0, &hub);
        let (small, _small_client) = connect(&mut worker).await;
        let (middle, _middle_client) = connect(&mut worker).await;
        let (large, _large_client) = connect(&mut worker).await;
        let channels = (0..128).map(|number| format!("{number:0>64}")).collect();
        let names = NewSubscription { channels: Some(channels), ..NewSubscription::default() };
        worker.change_subscription(small, names.try_into().expect("valid names"));
        worker.connections[middle].input.set(400 * KIB);
        worker.connections[large].input.set(800 * KIB);
        worker.flush();
        let is_open = [small, middle, large].map(|key| worker.connections[key].is_open());
        assert_eq!(is_open, [true, true, false]);
        assert_eq!(worker.connections[large].input.bytes(), 0);
        let before = hub.memory.bytes();
        let names_bytes = worker.connections[small].memory_bytes();
        assert!(names_bytes > 128 * 64, "{names_bytes}");
        worker.close(small, &CloseCode::NoPong.into());
        worker.flush();
        assert!(hub.memory.bytes() <= before - names_bytes);
    }

    #[tokio::test]
    async fn connections_without_authentication_are_closed_first() {
        let hub = start_hub("2100KiB");
        let mut worker = Worker::new(hub.register().0, &hub);
        let (authenticated, _client) = connect(&mut worker).await;
        worker.connections[authenticated].input.set(1_024 * KIB);
        let waiting = [(); 20].map(|()| {
            let key = worker.register(Sink::Sse(None), Encoding::WebSocket, None);
            worker.connections[key].input.set(64 * KIB);
            key
        });
        worker.flush();
        assert!(worker.connections[authenticated].is_open() && !hub.memory.is_exceeded());
        let closed = waiting.iter().filter(|key| !worker.connections[**key].is_open()).count();
        assert_eq!(closed, 4);
    }

    #[tokio::test]
    async fn queued_frames_are_discarded_when_the_credentials_are_no_longer_valid() {
        let hub = Hub::for_tests(&[]);
        let mut worker = Worker::new(hub.register().0, &hub);
        let (key, mut client) = connect(&mut worker).await;
        fill(&mut worker, key, 40);
        worker.flush();
        worker.close_unauthorized(key, &CloseCode::Revoked.into());
        worker.flush();
        let rest = worker.connections[key].send_queue.bytes();
        assert!(rest <= FRAME + 32, "{rest}");
        let reading = tokio::task::spawn_blocking(move || read_until_close(&mut client));
        while !reading.is_finished() {
            worker.flush_connection(key);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (frames, code) = reading.await.expect("the client reads frames");
        assert!(frames < 40 && code == 4503, "{frames} frames, {code}");
    }

    #[tokio::test]
    async fn last_event_of_a_stream_follows_a_complete_event() {
        let hub = Hub::for_tests(&[]);
        let mut worker = Worker::new(hub.register().0, &hub);
        let key = worker.register_open(Sink::Sse(None), Encoding::Sse, Subscription::none());
        let mut events = Vec::new();
        for text in ["a", "b"] {
            let json = format!("\"{}\"", text.repeat(20 * KIB));
            encode_json(&mut events, Encoding::Sse, None, json.as_bytes());
        }
        worker.enqueue(key, events.into(), 2);
        let mut sent = worker.pop_chunk(key).expect("a part of the first event").to_vec();
        assert!(!sent.ends_with(b"\n\n"), "the event is sent in parts");
        worker.close_unauthorized(key, &CloseCode::TokenExpired.into());
        while let Some(chunk) = worker.pop_chunk(key) {
            sent.extend(chunk);
        }
        let sent = String::from_utf8(sent).expect("the stream is text");
        let events: Vec<_> = sent.split_terminator("\n\n").collect();
        let complete = format!("data: \"{}\"", "a".repeat(20 * KIB));
        assert!(events.len() == 2 && events[0] == complete, "{} events", events.len());
        assert!(events[1].contains("token_expired"), "{}", events[1]);
    }

    #[tokio::test]
    async fn worker_waits_while_another_one_has_the_largest_queue() {
        let hub = start_hub("2MiB");
        let mut one = Worker::new(hub.register().0, &hub);
        let mut other = Worker::new(hub.register().0, &hub);
        let (small, _small_client) = connect(&mut one).await;
        let (large, _large_client) = connect(&mut other).await;
        fill(&mut one, small, 18);
        fill(&mut other, large, 30);
        one.flush();
        assert!(one.connections[small].is_open(), "the other worker has not reported");
        other.flush();
        assert!(!other.connections[large].is_open() && !hub.memory.is_exceeded());
        assert!(one.connections[small].is_open());
        one.tick(Instant::now());
        assert!(one.connections[small].is_open());
    }

    #[tokio::test]
    async fn connection_that_is_closing_is_dropped_if_memory_is_needed() {
        let hub = start_hub("1MiB");
        let mut worker = Worker::new(hub.register().0, &hub);
        let (key, _client) = connect(&mut worker).await;
        fill(&mut worker, key, 18);
        worker.flush();
        // The queue is kept, because the client may still read it.
        worker.close(key, &CloseCode::NoPong.into());
        worker.flush();
        assert_eq!(worker.connections[key].stage, Stage::Closing);
        let (other, _other_client) = connect(&mut worker).await;
        fill(&mut worker, other, 10);
        worker.flush();
        assert_eq!(worker.connections[key].stage, Stage::Closed);
        assert!(worker.connections[other].is_open() && !hub.memory.is_exceeded());
    }
}
