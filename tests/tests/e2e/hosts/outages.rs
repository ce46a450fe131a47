//! What goes on without Postgres, and what is said without Redis.

use std::time::Duration;

use mayfly_stack::Part;
use serde_json::json;
use tokio::time::Instant;

use super::{get, increases, know_all_keys, now, put_key, put_sighting, quiet_setup, sighting};

const HOST: &str = "out.example.org";

#[tokio::test]
async fn without_postgres_what_is_of_this_moment_goes_on_and_without_redis_it_is_503_at_once() {
    let world = quiet_setup().own_servers().start().await;
    know_all_keys(&world).await;
    put_key(&world, "out", &[HOST], false).await;
    put_sighting(&world, &sighting(HOST, now(), &[("/a", 10, Some(8))])).await;
    let paths = ["pages", "rising", "rising?window=1h", "history?path=/"];
    let paths = paths.map(|path| format!("/v1/hosts/{HOST}/{path}"));
    for path in &paths {
        get(&world, path).await.expect(200);
    }
    world.stack.stop(Part::Postgres).await.expect("Postgres stops");
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (path, status) in paths.iter().zip([200, 200, 503, 503]) {
        let asked = Instant::now();
        let answer = get(&world, path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(asked.elapsed() < Duration::from_secs(2), "{path}: {:?}", asked.elapsed());
    }
    let list = increases(&world, "out", HOST).await.expect(200);
    assert_eq!(list[0]["change"], json!(2));

    world.stack.stop(Part::Redis).await.expect("Redis stops");
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        let asked = Instant::now();
        increases(&world, "out", HOST).await.expect_problem(503, "unavailable");
        get(&world, &paths[0]).await.expect_problem(503, "unavailable");
        get(&world, &paths[1]).await.expect_problem(503, "unavailable");
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
}
