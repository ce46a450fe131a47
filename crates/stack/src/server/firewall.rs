//! A firewall between a service and a server, for tests.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

const CHUNK_BYTES: usize = 16 * 1024;

/// A TCP proxy that can forget its open connections. The proxy then silently drops all data on
/// these connections, as firewalls do after a connection has been idle for a long time. The proxy
/// runs until this struct is dropped.
#[derive(Debug)]
pub struct Firewall {
    address: SocketAddr,
    /// The number of connections that have been opened.
    opened: Arc<AtomicUsize>,
    /// The number of the first connection that is not forgotten.
    first_known: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Firewall {
    /// Starts a firewall in front of a server, such as `127.0.0.1:6379`.
    pub async fn start(server: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (opened, first_known) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(
            listener,
            server.to_owned(),
            Arc::clone(&opened),
            Arc::clone(&first_known),
        ));
        Ok(Self { address, opened, first_known, _tasks: tasks })
    }

    /// Returns the address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of connections that have been opened.
    pub fn connections_opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// Forgets the open connections. New connections are still forwarded.
    pub fn forget_connections(&self) {
        self.first_known.store(self.connections_opened(), Ordering::SeqCst);
    }
}

async fn accept(
    listener: TcpListener,
    server: String,
    opened: Arc<AtomicUsize>,
    first_known: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let number = opened.fetch_add(1, Ordering::SeqCst);
        // If the server is unreachable, the client sees a closed connection.
        let Ok(server) = TcpStream::connect(&server).await else { continue };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        connections.spawn(forward(from_client, to_server, number, Arc::clone(&first_known)));
        connections.spawn(forward(from_server, to_client, number, Arc::clone(&first_known)));
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: usize,
    first_known: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let is_known = number >= first_known.load(Ordering::SeqCst);
        if is_known && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
