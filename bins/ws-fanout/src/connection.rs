//! One WebSocket: from the accepted handshake to its end.

use std::{future::poll_fn, io::ErrorKind, net::Shutdown, rc::Rc, task::Poll};

use actix_web::rt::net::TcpStream;
use mayfly_core::frame::ServerFrame;
use mayfly_http::Switched;
use serde::Deserialize;
use socket2::SockRef;
use tokio::{io::AsyncWriteExt, task::JoinHandle};

use crate::{
    batch::Encoding,
    client::{Sink, Stage},
    groups::Interest,
    hub::Seat,
    local::Local,
    query::{BadQuery, LiveQuery},
    resume,
    shard::Shard,
    subscription::{BadNames, Names, Subscription},
    websocket::{Close, Decoder, Incoming, close_frame, encode_pong},
};

/// Serves a socket to its end.
pub(crate) async fn serve(
    local: Rc<Local>,
    switched: Switched,
    query: Result<LiveQuery, BadQuery>,
    _seat: Seat,
) {
    let socket = Rc::new(switched.socket);
    let (query, refusal) = match query {
        Ok(query) => (query, None),
        Err(bad) => {
            let subscription = Subscription::open(Names::default());
            let subscription = subscription.expect("invariant: no names break no rule");
            (LiveQuery { subscription, since: None }, Some(Close::from(bad)))
        }
    };
    let interest = Interest { encoding: Encoding::WebSocket, subscription: query.subscription };
    let sink = Sink::Socket(Rc::clone(&socket));
    let key = local.shard.borrow_mut().register(sink, interest);
    let greeting = match refusal {
        Some(close) => {
            let mut shard = local.shard.borrow_mut();
            shard.close(key, &close);
            shard.flush();
            None
        }
        None => Some(resume::begin(&local, key, query.since)),
    };
    let registration = Registration { local: Rc::clone(&local), key, greeting };
    let decoder = Decoder::default();
    let mut connection = Connection { local: Rc::clone(&local), key, socket, decoder };
    connection.be_greeted().await;
    connection.take(&switched.received);
    drop(switched.received);
    connection.run().await;
    drop(registration);
    connection.finish().await;
}

struct Connection {
    local: Rc<Local>,
    key: usize,
    socket: Rc<TcpStream>,
    decoder: Decoder,
}

/// What a connection waits for.
enum Event {
    Readable,
    Writable,
    Over,
}

impl Connection {
    /// Waits until the client has been greeted: only then it is listened to.
    async fn be_greeted(&self) {
        poll_fn(|context| {
            let mut shard = self.local.shard.borrow_mut();
            let client = &mut shard.clients[self.key];
            client.remember_task(context);
            if client.stage == Stage::Starting { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    async fn run(&mut self) {
        loop {
            match self.wait().await {
                Event::Readable => {
                    self.read();
                    tokio::task::yield_now().await;
                }
                Event::Writable => self.local.shard.borrow_mut().flush_one(self.key),
                Event::Over => return,
            }
        }
    }

    async fn wait(&self) -> Event {
        poll_fn(|context| {
            let mut shard = self.local.shard.borrow_mut();
            let client = &mut shard.clients[self.key];
            if client.stage == Stage::Over {
                return Poll::Ready(Event::Over);
            }
            client.remember_task(context);
            if client.is_blocked && self.socket.poll_write_ready(context).is_ready() {
                return Poll::Ready(Event::Writable);
            }
            if self.socket.poll_read_ready(context).is_ready() {
                return Poll::Ready(Event::Readable);
            }
            Poll::Pending
        })
        .await
    }

    /// Reads what is there, once: then others have their turn.
    fn read(&mut self) {
        let local = Rc::clone(&self.local);
        let mut scratch = local.scratch.borrow_mut();
        match self.socket.try_read(&mut scratch) {
            Ok(bytes @ 1..) => self.take(&scratch[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => local.shard.borrow_mut().clients[self.key].set_over(),
        }
    }

    /// Takes bytes of the client apart and does what they say.
    fn take(&mut self, bytes: &[u8]) {
        let key = self.key;
        let mut shard = self.local.shard.borrow_mut();
        let broken = if shard.clients[key].is_open() {
            self.decoder.decode(bytes, |incoming| {
                follow(&mut shard, key, incoming);
                shard.clients[key].is_open()
            })
        } else if is_close(&mut self.decoder, bytes) {
            // Both have said it: when ours is written, it is over.
            let client = &mut shard.clients[key];
            client.has_parted = true;
            client.flush();
            Ok(())
        } else {
            Ok(())
        };
        let is_broken = broken.is_err();
        if let Err(close) = broken {
            shard.close(key, &close);
        }
        shard.flush();
        if is_broken && shard.clients[key].outbound.is_empty() {
            // Nothing that follows is understood any more, also not its Close: what ends it is the
            // end of what it sends.
            let _ = SockRef::from(&*self.socket).shutdown(Shutdown::Write);
        }
    }

    /// Ends the socket so that the other side finds everything that was written, and no reset.
    async fn finish(self) {
        if let Ok(mut socket) = Rc::try_unwrap(self.socket) {
            let _ = socket.shutdown().await;
        }
    }
}

/// Whether a Close is among these bytes; everything else comes too late.
fn is_close(decoder: &mut Decoder, bytes: &[u8]) -> bool {
    let mut found = false;
    let outcome = decoder.decode(bytes, |incoming| {
        found |= matches!(incoming, Incoming::Close(_));
        !found
    });
    found || outcome.is_err()
}

/// The entry of a connection in its shard, which leaves with it.
struct Registration {
    local: Rc<Local>,
    key: usize,
    greeting: Option<JoinHandle<()>>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(greeting) = &self.greeting {
            greeting.abort();
        }
        self.local.shard.borrow_mut().remove(self.key);
    }
}

/// Does what a client says.
fn follow(shard: &mut Shard, key: usize, incoming: Incoming) {
    match incoming {
        Incoming::Text(text) => follow_frame(shard, key, &text),
        Incoming::Ping(payload) => shard.answer(key, encode_pong(&payload)),
        Incoming::Pong => shard.clients[key].pong_until = None,
        Incoming::Close(code) => shard.follow_close(key, code, close_frame(code, b"")),
    }
}

/// A frame of a client.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum ClientFrame {
    Subscribe(Names),
    Unsubscribe(Names),
    Ping {},
}

fn follow_frame(shard: &mut Shard, key: usize, text: &str) {
    let frame = match serde_json::from_str::<ClientFrame>(text) {
        Ok(frame) => frame,
        Err(error) => {
            let code = if error.is_data() { "invalid_field" } else { "invalid_json" };
            return answer(shard, key, &ServerFrame::Error { code, message: error.to_string() });
        }
    };
    let mut subscription = shard.clients[key].interest.subscription.clone();
    let (changed, is_more) = match frame {
        ClientFrame::Ping {} => return answer(shard, key, &ServerFrame::Pong),
        ClientFrame::Subscribe(names) => (subscription.subscribe(names), true),
        ClientFrame::Unsubscribe(names) => (subscription.unsubscribe(names), false),
    };
    if let Err(error) = changed {
        let code = match error {
            BadNames::Field { .. } => "invalid_field",
            BadNames::TooMany(_) => "too_many_channels",
        };
        return answer(shard, key, &ServerFrame::Error { code, message: error.to_string() });
    }
    let names = subscription.to_names();
    if subscription != shard.clients[key].interest.subscription {
        shard.change_interest(key, Interest { encoding: Encoding::WebSocket, subscription });
    }
    let frame =
        if is_more { ServerFrame::Subscribed(names) } else { ServerFrame::Unsubscribed(names) };
    answer(shard, key, &frame);
    // What has come into the set and carries state is seen at once.
    shard.pay(key);
}

fn answer(shard: &mut Shard, key: usize, frame: &ServerFrame<'_>) {
    let mut bytes = Vec::new();
    crate::batch::encode_json(&mut bytes, Encoding::WebSocket, None, &frame.to_json());
    shard.answer(key, bytes.into());
}
