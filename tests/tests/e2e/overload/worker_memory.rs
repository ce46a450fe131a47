//! The memory of a persist-worker.

use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, ServiceProcess, Setup, World, eventually, live::peak_rss_bytes, short_or_full,
};

const MIB: u64 = 1024 * 1024;
const SMALL_MESSAGES: usize = 400;
const LARGE_BYTES: usize = 60_000;
/// Large messages per request, below the size limit of a body.
const LARGE_PER_BATCH: usize = 50;

/// Posts a batch. Repeats the request with the same key if it returns 503, because Redis may need
/// longer than a request may take for three megabytes while other tests run.
async fn post_batch(world: &World, message: &str, count: usize) {
    let body = format!("[{}]", vec![message; count].join(","));
    let key = fastrand::u64(..).to_string();
    eventually(DEFAULT_TIMEOUT, "the batch is accepted", async || {
        let request = world.http.post(world.ingest_url("/v1/messages/batch"));
        let request = request.header("content-type", "application/json");
        let response = request.header("idempotency-key", &key).body(body.clone()).send().await;
        match response.expect("ingest-api responds").status().as_u16() {
            202 => Ok(()),
            503 => Err("503"),
            other => panic!("{other}"),
        }
    })
    .await;
}

/// The size of a batch is bounded even if the preceding messages were much smaller. The bound is
/// the one in docs/OPERATIONS.md for one writer without plays.
#[tokio::test(flavor = "multi_thread")]
async fn worker_memory_is_bounded_when_large_messages_follow_small_ones() {
    let world =
        Setup::new().scale(Service::ListApi, 0).scale(Service::PersistWorker, 0).start().await;
    let batches = short_or_full(15, 80);
    post_batch(&world, r#"{"text":"x"}"#, SMALL_MESSAGES).await;
    let large = format!(r#"{{"data":"{}"}}"#, "x".repeat(LARGE_BYTES));
    for _ in 0..batches {
        post_batch(&world, &large, LARGE_PER_BATCH).await;
    }
    let settings = [("MAYFLY_PERSIST__WRITERS", "1")];
    let worker = ServiceProcess::start_with(&world, Service::PersistWorker, &settings).await;
    let expected =
        i64::try_from(SMALL_MESSAGES + batches * LARGE_PER_BATCH).expect("a small number");
    eventually(4 * DEFAULT_TIMEOUT, "all messages are stored", async || {
        let stored = world.query_count("SELECT count(*) FROM messages").await;
        if stored == expected { Ok(()) } else { Err(stored) }
    })
    .await;
    let (peak, limit) = (peak_rss_bytes(worker.pid()), 288 * MIB);
    println!("{batches} batches of large messages: {peak} of at most {limit} bytes");
    assert!(peak < limit, "{peak} of at most {limit} bytes");
}
