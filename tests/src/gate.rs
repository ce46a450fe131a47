//! A gate in front of Redis: it lets everything through, until the answers are held back.

use std::net::SocketAddr;

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

const SCRIPT: &[u8] = b"EVALSHA";
const CHUNK_BYTES: usize = 64 * 1024;

/// A gate that runs until it is dropped.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// It shuts when a script is called.
    Armed,
    /// Answers are held back; what is asked still arrives.
    Shut,
}

impl Gate {
    /// Opens a gate in front of the Redis of a Mayfly.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn open(world: &World) -> Self {
        let env = world.stack.env();
        let server =
            env.redis_url().rsplit(['/', '@']).next().expect("it is an address").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (state, watched) = watch::channel(State::Open);
        let armed = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server is there");
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass_on(from_client, to_server, armed.clone()));
                tokio::spawn(pass_answers(from_server, to_client, watched.clone()));
            }
        });
        Self { address, state, task }
    }

    /// Where Redis is for who goes through the gate.
    #[must_use]
    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Holds back every answer from the next call of a script on.
    pub fn hold_answers_to_scripts(&self) {
        self.state.send_replace(State::Armed);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: watch::Sender<State>) {
    let mut bytes = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let asked = &bytes[..read];
        if asked.windows(SCRIPT.len()).any(|window| window == SCRIPT) {
            state.send_if_modified(|state| {
                let is_armed = *state == State::Armed;
                if is_armed {
                    *state = State::Shut;
                }
                is_armed
            });
        }
        if to.write_all(asked).await.is_err() {
            return;
        }
    }
}

async fn pass_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) {
    let mut bytes = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        // Held until the gate is gone; then nobody waits for it any more.
        let is_open = state.wait_for(|state| *state != State::Shut).await.is_ok();
        if !is_open || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
