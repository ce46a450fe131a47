//! A proxy in front of S3 that can hold back or reject PUT requests.

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
const ACCESS_DENIED: &str = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";

/// The handling of PUT requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMode {
    Forward,
    /// Requests are held back, even if the client disconnects.
    Hold,
    /// Requests are rejected with 403; other methods are forwarded.
    Reject,
}

/// A proxy that accepts no new connections after it is dropped.
pub struct S3Proxy {
    address: SocketAddr,
    mode: watch::Sender<PutMode>,
    /// The number of received PUT requests.
    put_count: watch::Sender<usize>,
    task: JoinHandle<()>,
}

impl S3Proxy {
    /// Starts a proxy in front of a stack's S3 server.
    pub async fn start(world: &World, mode: PutMode) -> Self {
        let env = world.stack.env();
        let server = env.s3_endpoint().rsplit('/').next().expect("a valid address").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (mode, _) = watch::channel(mode);
        let (put_count, _) = watch::channel(0);
        let (states, counter) = (mode.clone(), put_count.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server =
                    TcpStream::connect(&server).await.expect("the server accepts connections");
                tokio::spawn(serve(client, server, states.subscribe(), counter.clone()));
            }
        });
        Self { address, mode, put_count, task }
    }

    /// Returns the S3 endpoint through the proxy.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the mode and resumes requests that are held back.
    pub fn set(&self, mode: PutMode) {
        self.mode.send_replace(mode);
    }

    /// Returns the number of received PUT requests.
    pub fn put_count(&self) -> usize {
        *self.put_count.borrow()
    }
}

impl Drop for S3Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    client: TcpStream,
    server: TcpStream,
    mode: watch::Receiver<PutMode>,
    put_count: watch::Sender<usize>,
) {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        is_rejected = forward_requests(from_client, to_server, mode, put_count) => {
            if is_rejected {
                let (length, body) = (ACCESS_DENIED.len(), ACCESS_DENIED);
                let head = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length:";
                let response = format!("{head} {length}\r\n\r\n{body}");
                let _disconnected = to_client.write_all(response.as_bytes()).await;
            }
        }
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

/// Forwards requests. Returns `true` when a request is rejected.
async fn forward_requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<PutMode>,
    put_count: watch::Sender<usize>,
) -> bool {
    let mut bytes = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let chunk = &bytes[..read];
        if chunk.starts_with(b"PUT ") {
            put_count.send_modify(|put_count| *put_count += 1);
            let current = mode.wait_for(|mode| *mode != PutMode::Hold).await;
            if current.is_ok_and(|mode| *mode == PutMode::Reject) {
                return true;
            }
        }
        if to.write_all(chunk).await.is_err() {
            return false;
        }
    }
    // The client disconnected, but S3 still executes the request, as a remote server would.
    pending().await
}
