//! Host routes without Postgres and without Redis.

use std::time::Duration;

use mayfly_stack::ProcessKind;
use serde_json::json;
use tokio::time::Instant;

use super::{get, increases, load_keys, now, put_key, put_trend, setup, trend_snapshot};

const HOST: &str = "out.example.org";

#[tokio::test]
async fn current_data_is_served_without_postgres_and_503_is_returned_without_redis() {
    let world = setup().dedicated_servers().start().await;
    load_keys(&world, &[]).await;
    put_key(&world, "out", &[HOST], false).await;
    put_trend(&world, &trend_snapshot(HOST, now(), &[("/a", 10, Some(8))])).await;
    let paths = ["pages", "rising", "rising?window=1h", "history?path=/"];
    let paths = paths.map(|path| format!("/v1/hosts/{HOST}/{path}"));
    for path in &paths {
        get(&world, path).await.expect_status(200);
    }
    world.stack.stop(ProcessKind::Postgres).await.expect("Postgres stops");
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (path, status) in paths.iter().zip([200, 200, 503, 503]) {
        let started = Instant::now();
        let response = get(&world, path).await;
        assert_eq!(response.status, status, "{path}: {}", response.text());
        assert!(started.elapsed() < Duration::from_secs(2), "{path}: {:?}", started.elapsed());
    }
    let list = increases(&world, "out", HOST).await.expect_status(200);
    assert_eq!(list[0]["change"], json!(2));

    world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        let started = Instant::now();
        increases(&world, "out", HOST).await.expect_problem(503, "unavailable");
        get(&world, &paths[0]).await.expect_problem(503, "unavailable");
        get(&world, &paths[1]).await.expect_problem(503, "unavailable");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
}
