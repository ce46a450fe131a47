//! A rolling restart of all services under load.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, Load, Setup, World, eventually, live::ResumingClient, send_signal,
    short_or_full,
};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

/// The order in which services are upgraded: consumers first.
const ORDER: [Service; 5] = [
    Service::PersistWorker,
    Service::WsFanout,
    Service::StatsPublisher,
    Service::ListApi,
    Service::IngestApi,
];
const SUBSCRIBERS: usize = 16;
const READERS: usize = 8;

/// Returns a setup with two instances of every service and the default HTTP drain. In a short run,
/// the socket drain is short.
fn setup() -> Setup {
    let mut setup = Setup::new().with_s3().set("MAYFLY_HTTP__DRAIN_DELAY", "5s");
    for service in Service::ALL {
        setup = setup.scale(service, 2);
    }
    setup.set("MAYFLY_FANOUT__DRAIN", short_or_full("2s", "15s"))
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restart_under_load_fails_no_request_and_loses_no_message() {
    let world = super::behind(setup()).start().await;
    let mut subscribers = JoinSet::new();
    let (total_sender, total) = tokio::sync::watch::channel(None);
    for number in 0..SUBSCRIBERS {
        let mut total = total.clone();
        let mut subscriber = ResumingClient::start(world.live_urls("channel=lobby"), number).await;
        subscribers.spawn(async move {
            loop {
                subscriber.follow_until(Instant::now() + Duration::from_millis(100)).await;
                let count: Option<usize> = *total.borrow_and_update();
                if let Some(count) = count {
                    subscriber.follow_until_count(count, DEFAULT_TIMEOUT).await;
                    return subscriber;
                }
            }
        });
    }
    let load = Load::start(&world, short_or_full(100, 300));
    let readers = Readers::start(&world);

    // A short run restarts one of two instances, a full run both.
    for index in 0..short_or_full(1, 2) {
        for service in ORDER {
            let elapsed = restart(&world, service, index).await;
            println!("{service} {index} was restarted in {elapsed:?}");
        }
    }

    let read = readers.stop().await;
    assert_eq!(read.keys().copied().collect::<Vec<_>>(), [200], "{read:?}");
    let report = load.stop().await;
    println!("{} posts, {} reads", report.accepted.len(), read[&200]);
    assert!(report.rejected.is_empty() && report.unanswered == 0, "{report:?}");
    total_sender.send(Some(report.accepted.len())).expect("a subscriber is running");
    let mut accepted: Vec<_> =
        report.accepted.iter().map(|id| id.parse().expect("an id")).collect::<Vec<uuid::Uuid>>();
    accepted.sort_unstable();
    let mut reconnects = 0;
    while let Some(subscriber) = subscribers.join_next().await {
        let subscriber = subscriber.expect("the subscriber does not panic");
        let mut seen = subscriber.seen;
        seen.sort_unstable();
        assert!(seen == accepted, "{} of {} messages", seen.len(), accepted.len());
        reconnects += subscriber.reconnects;
    }
    println!("{SUBSCRIBERS} subscribers reconnected {reconnects} times");
    assert!(reconnects > 0, "a restart closes sockets");
    let stored = world.wait_until_processed(DEFAULT_TIMEOUT).await;
    assert_eq!(stored.accepted, stored.stored);
}

/// Terminates a process as Kubernetes does and waits until its replacement is ready.
async fn restart(world: &World, service: Service, index: usize) -> Duration {
    let started = Instant::now();
    let before = world.stack.env().pids(service)[index];
    send_signal(before, Signal::SIGTERM);
    eventually(DEFAULT_TIMEOUT, "the replacement is started", async || {
        match world.stack.env().pids(service).get(index) {
            Some(pid) if *pid != before => Ok(()),
            other => Err(other.copied()),
        }
    })
    .await;
    let url = format!("{}/readyz", world.stack.env().admin_urls(service)[index]);
    eventually(DEFAULT_TIMEOUT, "the replacement is ready", async || {
        match world.http.get(&url).send().await {
            Ok(response) if response.status() == 200 => Ok(()),
            Ok(response) => Err(response.status().to_string()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    started.elapsed()
}

/// Clients that count response statuses; 0 stands for no response.
struct Readers {
    stop: Arc<AtomicBool>,
    readers: JoinSet<BTreeMap<u16, usize>>,
}

impl Readers {
    fn start(world: &World) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for number in 0..READERS {
            let (world, stop) = (world.clone(), stop.clone());
            readers.spawn(async move {
                let paths = [
                    "/v1/messages?limit=5",
                    "/v1/plays",
                    "/v1/users/user-1/messages",
                    "/mayfly.js",
                ];
                let mut statuses = BTreeMap::new();
                let mut ticks = tokio::time::interval(Duration::from_millis(20));
                let mut index = number;
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    index += 1;
                    // Also posts plays and visits.
                    let request = match index % 6 {
                        4 => world
                            .http
                            .post(world.ingest_url("/v1/plays"))
                            .json(&json!({"video_id": "v"})),
                        5 => world.http.post(world.ingest_url("/v1/visits")).json(
                            &json!({"host": "h", "path": "/", "visitor": format!("{number}")}),
                        ),
                        n => world.http.get(world.list_url(paths[n])),
                    };
                    let status = match request.send().await {
                        Ok(response) if response.status() == 202 => 200,
                        Ok(response) => response.status().as_u16(),
                        Err(_) => 0,
                    };
                    *statuses.entry(status).or_default() += 1;
                }
                statuses
            });
        }
        Self { stop, readers }
    }

    async fn stop(mut self) -> BTreeMap<u16, usize> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        while let Some(statuses) = self.readers.join_next().await {
            for (status, count) in statuses.expect("the reader does not panic") {
                *all.entry(status).or_default() += count;
            }
        }
        all
    }
}
