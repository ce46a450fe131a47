//! Credentials after Redis has lost its data.

use std::time::{Duration, Instant};

use mayfly_stack::Service;
use mayfly_tests::{DEFAULT_TIMEOUT, eventually, with_slack};
use serde_json::json;

use super::{
    credentials::{NewKey, create_keys, create_token},
    get, setup,
};

const RESTORED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn lost_keys_are_neither_unknown_nor_accepted_until_they_are_restored() {
    let world = setup().scale(Service::ListApi, 1).dedicated_servers().start().await;
    let reader = NewKey { scopes: &["read"], ..NewKey::default() };
    let keys = [reader, NewKey { is_revoked: true, ..reader }];
    let [valid, revoked] = create_keys(&world, &keys).await.try_into().expect("two keys");
    let token = create_token("fred", json!({"subscribe": ["*"]}));
    let status = async |credentials: &str| get(&world, "/v1/messages", credentials).await.status;
    assert_eq!((status(&valid).await, status(&revoked).await), (200, 401));
    eventually(DEFAULT_TIMEOUT, "the revocations are loaded", async || {
        match status(&token).await {
            200 => Ok(()),
            other => Err(other),
        }
    })
    .await;

    let mut redis = world.redis().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis is flushed");
    let lost_at = Instant::now();
    let (mut was_unavailable, mut is_restored) = (false, false);
    while !is_restored {
        assert!(lost_at.elapsed() < with_slack(RESTORED_WITHIN), "the keys are restored");
        let statuses = [status(&valid).await, status(&token).await];
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        let other = [status(&revoked).await, status("mf_unknown").await];
        assert!(other.iter().all(|status| [401, 503].contains(status)), "{other:?}");
        was_unavailable |= statuses[0] == 503 || other[0] == 503;
        is_restored = was_unavailable && statuses == [200; 2] && other == [401; 2];
    }
}
