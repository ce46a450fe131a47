//! A gate in front of S3: it lets everything through, but what is put it can hold, or refuse.

use std::{future::pending, net::SocketAddr};

use mayfly_tests::World;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

const CHUNK_BYTES: usize = 64 * 1024;
const REFUSAL: &str = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";

/// What happens to what is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Puts {
    Pass,
    /// They wait here, whatever becomes of who sent them.
    Hold,
    /// They are answered 403, and everything else is let through.
    Refuse,
}

/// A gate that lets nobody in any more when it is dropped.
pub struct PutGate {
    address: SocketAddr,
    puts: watch::Sender<Puts>,
    /// How many puts came to it.
    seen: watch::Sender<usize>,
    task: JoinHandle<()>,
}

impl PutGate {
    /// Opens a gate in front of the S3 server of a Mayfly.
    pub async fn open(world: &World, puts: Puts) -> Self {
        let env = world.stack.env();
        let server = env.s3_endpoint().rsplit('/').next().expect("it is an address").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (puts, _) = watch::channel(puts);
        let (seen, _) = watch::channel(0);
        let (states, counter) = (puts.clone(), seen.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server is there");
                tokio::spawn(serve(client, server, states.subscribe(), counter.clone()));
            }
        });
        Self { address, puts, seen, task }
    }

    /// Where S3 is for who goes through the gate.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to puts from now on; those that are held go on.
    pub fn set(&self, puts: Puts) {
        self.puts.send_replace(puts);
    }

    /// How many puts came to it.
    pub fn seen(&self) -> usize {
        *self.seen.borrow()
    }
}

impl Drop for PutGate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    client: TcpStream,
    server: TcpStream,
    puts: watch::Receiver<Puts>,
    seen: watch::Sender<usize>,
) {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        is_refused = pass_on(from_client, to_server, puts, seen) => {
            if is_refused {
                let (length, body) = (REFUSAL.len(), REFUSAL);
                let head = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length:";
                let answer = format!("{head} {length}\r\n\r\n{body}");
                let _gone = to_client.write_all(answer.as_bytes()).await;
            }
        }
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

/// Passes on what is asked; ends, and says so, where something is refused.
async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut puts: watch::Receiver<Puts>,
    seen: watch::Sender<usize>,
) -> bool {
    let mut bytes = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let asked = &bytes[..read];
        if asked.starts_with(b"PUT ") {
            seen.send_modify(|seen| *seen += 1);
            let open = puts.wait_for(|puts| *puts != Puts::Hold).await;
            if open.is_ok_and(|puts| *puts == Puts::Refuse) {
                return true;
            }
        }
        if to.write_all(asked).await.is_err() {
            return false;
        }
    }
    // Who asked has gone. S3 does what it was asked, as it would far away: it is not told.
    pending().await
}
