//! A TCP proxy in front of Redis that can hold back replies.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

use crate::World;

const SCRIPT_COMMAND: &[u8] = b"EVALSHA";
const CHUNK_BYTES: usize = 64 * 1024;

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct RedisProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Forwarding,
    /// The next call of a script with this key starts [`State::HoldingReplies`].
    Armed(Arc<str>),
    /// Commands still reach Redis; replies are held back.
    HoldingReplies,
}

impl RedisProxy {
    /// Starts a proxy in front of a stack's Redis.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(world: &World) -> Self {
        let env = world.stack.env();
        let server = env.redis_url().rsplit(['/', '@']).next().expect("a valid URL").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (state, receiver) = watch::channel(State::Forwarding);
        let sender = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("Redis accepts connections");
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(forward_commands(from_client, to_server, sender.clone()));
                tokio::spawn(forward_replies(from_server, to_client, receiver.clone()));
            }
        });
        Self { address, state, task }
    }

    /// Returns the URL of Redis through the proxy.
    #[must_use]
    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Holds back every reply from the next call of a script with this key on.
    pub fn hold_script_replies(&self, key: &str) {
        self.state.send_replace(State::Armed(key.into()));
    }
}

impl Drop for RedisProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward_commands(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: watch::Sender<State>,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let chunk = &buffer[..read];
        state.send_if_modified(|state| {
            let is_expected = match state {
                State::Armed(key) => {
                    contains(chunk, SCRIPT_COMMAND) && contains(chunk, key.as_bytes())
                }
                _ => false,
            };
            if is_expected {
                *state = State::HoldingReplies;
            }
            is_expected
        });
        if to.write_all(chunk).await.is_err() {
            return;
        }
    }
}

fn contains(chunk: &[u8], part: &[u8]) -> bool {
    chunk.windows(part.len()).any(|window| window == part)
}

async fn forward_replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // Fails when the proxy is dropped.
        let is_open = state.wait_for(|state| *state != State::HoldingReplies).await.is_ok();
        if !is_open || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
