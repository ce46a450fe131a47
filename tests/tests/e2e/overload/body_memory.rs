//! The memory for request bodies.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{
    DEFAULT_TIMEOUT, Frozen, RawConnection, ServiceProcess, Setup, World, eventually,
    live::{raise_file_limit, rss_bytes},
    short_or_full,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use super::batch;

const MIB: u64 = 1024 * 1024;

/// Declares a body of 4 MB and sends two bytes of it, in two segments.
async fn begin_body(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let head = format!(
        "POST /v1/messages/batch HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: 4000000\r\n\r\n["
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(b" ").await?;
    Ok(stream)
}

async fn post(address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let mut connection = RawConnection::open(address).await.expect("ingest-api accepts");
    let response = connection.send("POST", path, body).await.expect("a response");
    (response.status, String::from_utf8_lossy(&response.body).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_grows_with_the_bytes_that_arrive() {
    raise_file_limit();
    let world = World::shared().await;
    let ingest = ServiceProcess::start_with(&world, Service::IngestApi, &[]).await;
    let address = ingest.http.expect("a public port");
    // Every thread handles requests before each of the two measurements.
    let warm_up = async || {
        for _ in 0..50 {
            let (status, body) = post(address, "/v1/messages", r#"{"text":"x"}"#).await;
            assert_eq!(status, 202, "{body}");
        }
    };
    warm_up().await;
    let before = rss_bytes(ingest.pid());
    let connections = short_or_full(300, 2_000);
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(begin_body(address).await.expect("ingest-api accepts"));
    }
    warm_up().await;
    let growth = rss_bytes(ingest.pid()).saturating_sub(before);
    println!("{connections} connections: {growth} bytes");
    assert!(growth / connections < 64 * 1024, "{growth} bytes for {connections} connections");
}

/// The largest memory of a process while this exists.
struct PeakMemory {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl PeakMemory {
    fn watch(pid: u32) -> Self {
        let (peak, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let watched = Self { peak: peak.clone(), stop: stop.clone() };
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(rss_bytes(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        watched
    }

    fn bytes(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for PeakMemory {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// In a full run, 150 batches of 3.9 MB stay below the limit of a pod with the default settings.
#[tokio::test(flavor = "multi_thread")]
async fn batches_stay_within_the_memory_limit_while_redis_is_frozen() {
    let world = Setup::new()
        .dedicated_servers()
        .default_timeouts()
        .scale(Service::ListApi, 0)
        .scale(Service::PersistWorker, 0)
        .start()
        .await;
    let (batches, bytes_max) = short_or_full((60, 16 * MIB), (150, 128 * MIB));
    let setting = format!("{}MiB", bytes_max / MIB);
    let settings = [("MAYFLY_HTTP__BODIES_BYTES_MAX", setting.as_str())];
    let ingest = ServiceProcess::start_with(&world, Service::IngestApi, &settings).await;
    let address = ingest.http.expect("a public port");
    eventually(DEFAULT_TIMEOUT, "a message is accepted", async || {
        match post(address, "/v1/messages", r#"{"text":"x"}"#).await {
            (202, _) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let before = rss_bytes(ingest.pid());
    let peak = PeakMemory::watch(ingest.pid());
    let frozen = Frozen::freeze_tree(world.stack.env().pids(ProcessKind::Redis)[0]);
    let body: Arc<str> = batch(1_000, 3_900).into();
    let mut requests = JoinSet::new();
    for _ in 0..batches {
        let body = body.clone();
        requests.spawn(async move { post(address, "/v1/messages/batch", &body).await });
    }
    for (status, body) in requests.join_all().await {
        assert_eq!(status, 503, "{body}");
    }
    drop(frozen);
    let limit = 64 * MIB + 3 * bytes_max;
    println!("{batches} batches: from {before} to {} bytes of at most {limit}", peak.bytes());
    assert!(peak.bytes() < limit, "{} of at most {limit} bytes", peak.bytes());
}
