//! Clients beyond their rate limit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, ServiceProcess, Setup, World, is_full, short_or_full};
use reqwest::Client;
use serde_json::json;
use tokio::task::JoinSet;

use super::batch;

async fn post(http: &Client, url: &str, client: &str, body: String) -> ApiResponse {
    let request = http.post(url).header("x-forwarded-for", client);
    ApiResponse::send(request.header("content-type", "application/json").body(body)).await
}

/// Posts batches of 950 messages as one client until stopped and at least five batches are
/// rejected. Returns the numbers of accepted and rejected requests.
async fn exceed_limit(
    url: String,
    client: String,
    body: String,
    stop: Arc<AtomicBool>,
) -> (usize, usize) {
    let http = Client::new();
    let (mut accepted, mut rejected) = (0, 0);
    while !stop.load(Ordering::Relaxed) || rejected < 5 {
        let response = post(&http, &url, &client, body.clone()).await;
        match response.status {
            202 => accepted += 1,
            429 => rejected += 1,
            // The first batches of all clients arrive at the same time.
            503 => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => panic!("{}", response.text()),
        }
    }
    (accepted, rejected)
}

/// The first limit allows one batch per window. The second limit is smaller than a batch, so no
/// batch is ever accepted.
#[tokio::test(flavor = "multi_thread")]
async fn clients_beyond_their_limit_do_not_affect_others() {
    let world = if is_full() {
        Setup::new().default_timeouts().start().await
    } else {
        World::shared().await
    };
    for (limit, accepted_max) in [("1000/hour", 1), ("900/hour", 0)] {
        let settings =
            [("MAYFLY_LIMITS__MESSAGES", limit), ("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.0/8")];
        let ingest = ServiceProcess::start_with(&world, Service::IngestApi, &settings).await;
        let (batches, single) = (ingest.url("/v1/messages/batch"), ingest.url("/v1/messages"));
        let stop = Arc::new(AtomicBool::new(false));
        let mut limited = JoinSet::new();
        for number in 0..short_or_full(10, 40) {
            let client = format!("192.0.2.{number}");
            let body = batch(950, 50);
            limited.spawn(exceed_limit(batches.clone(), client, body, stop.clone()));
        }
        let http = Client::new();
        for number in 0..short_or_full(14, 200) {
            let client = format!("198.51.{accepted_max}.{number}");
            let body = json!({"text": "x", "channel": "within-limit"}).to_string();
            post(&http, &single, &client, body).await.expect_status(202);
        }
        stop.store(true, Ordering::Relaxed);
        let outcomes = limited.join_all().await;
        assert!(outcomes.iter().all(|(accepted, _)| *accepted <= accepted_max), "{outcomes:?}");
        let rejected: usize = outcomes.iter().map(|(_, rejected)| rejected).sum();
        println!("{limit}: {rejected} batches rejected");
        ingest.kill().await;
    }
}
