//! A deploy: everything is restarted, one process after the other, under load, and nobody notices.

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
    Load, PATIENCE, Setup, World, eventually, live::Follower, send_signal, short_or_full,
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
const FOLLOWERS: usize = 16;
const READERS: usize = 8;

/// Two of everything, with the built-in drain of HTTP; a short one of sockets in the everyday form.
fn setup() -> Setup {
    let mut setup = Setup::new().with_s3().set("MAYFLY_HTTP__DRAIN_DELAY", "5s");
    for service in Service::ALL {
        setup = setup.with(service, 2);
    }
    setup.set("MAYFLY_FANOUT__DRAIN", short_or_full("2s", "15s"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_fails_no_request_and_costs_no_message() {
    let world = super::behind(setup()).start().await;
    let mut followers = JoinSet::new();
    let (ended, end) = tokio::sync::watch::channel(None);
    for number in 0..FOLLOWERS {
        let mut end = end.clone();
        let mut follower = Follower::start(world.lives("channel=lobby"), number).await;
        followers.spawn(async move {
            loop {
                follower.follow_until(Instant::now() + Duration::from_millis(100)).await;
                let total: Option<usize> = *end.borrow_and_update();
                if let Some(total) = total {
                    follower.follow_to(total, PATIENCE).await;
                    return follower;
                }
            }
        });
    }
    let load = Load::start(&world, short_or_full(100, 300));
    let readers = Readers::start(&world);

    // In the everyday form one of two is restarted, in the full one both.
    for place in 0..short_or_full(1, 2) {
        for service in ORDER {
            let took = restart(&world, service, place).await;
            println!("{service} {place} was restarted in {took:?}");
        }
    }

    let read = readers.stop().await;
    assert_eq!(read.keys().copied().collect::<Vec<_>>(), [200], "{read:?}");
    let tally = load.stop().await;
    println!("{} posts, {} reads", tally.accepted.len(), read[&200]);
    assert!(tally.refused.is_empty() && tally.unanswered == 0, "{tally:?}");
    ended.send(Some(tally.accepted.len())).expect("somebody follows");
    let mut accepted: Vec<_> =
        tally.accepted.iter().map(|id| id.parse().expect("an id")).collect::<Vec<uuid::Uuid>>();
    accepted.sort_unstable();
    let mut returns = 0;
    while let Some(follower) = followers.join_next().await {
        let follower = follower.expect("a follower ends well");
        let mut seen = follower.seen;
        seen.sort_unstable();
        assert!(seen == accepted, "{} of {} messages", seen.len(), accepted.len());
        returns += follower.returns;
    }
    println!("{FOLLOWERS} followers came back {returns} times");
    assert!(returns > 0, "sockets are closed by a restart");
    let stored = world.settle(PATIENCE).await;
    assert_eq!(stored.accepted, stored.stored);
}

/// Ends one process as Kubernetes does, and waits until the one that takes its place is ready.
async fn restart(world: &World, service: Service, place: usize) -> Duration {
    let began = Instant::now();
    let before = world.stack.env().pids(service)[place];
    send_signal(before, Signal::SIGTERM);
    eventually(PATIENCE, "another process is there", async || {
        match world.stack.env().pids(service).get(place) {
            Some(pid) if *pid != before => Ok(()),
            other => Err(other.copied()),
        }
    })
    .await;
    let url = format!("{}/readyz", world.stack.env().admin_urls(service)[place]);
    eventually(PATIENCE, "it is ready", async || match world.http.get(&url).send().await {
        Ok(answer) if answer.status() == 200 => Ok(()),
        Ok(answer) => Err(answer.status().to_string()),
        Err(error) => Err(error.to_string()),
    })
    .await;
    began.elapsed()
}

/// Clients of list-api that count the statuses of their answers; 0 is none.
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
                let mut turn = number;
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    turn += 1;
                    // Plays and visits are posted as well: they go another way than messages.
                    let request = match turn % 6 {
                        4 => world
                            .http
                            .post(world.ingest("/v1/plays"))
                            .json(&json!({"video_id": "v"})),
                        5 => world.http.post(world.ingest("/v1/visits")).json(
                            &json!({"host": "h", "path": "/", "visitor": format!("{number}")}),
                        ),
                        n => world.http.get(world.list(paths[n])),
                    };
                    let status = match request.send().await {
                        Ok(answer) if answer.status() == 202 => 200,
                        Ok(answer) => answer.status().as_u16(),
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
            for (status, count) in statuses.expect("a reader ends well") {
                *all.entry(status).or_default() += count;
            }
        }
        all
    }
}
