//! Credentials after Redis has lost its data, or a part of it.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use mayfly_core::limits;
use mayfly_stack::{Paths, ProcessKind, Service};
use mayfly_tests::{DEFAULT_TIMEOUT, World, copy_dir, eventually, short_or_full, with_slack};
use serde_json::json;

use super::{
    credentials::{
        NewKey, SECRET, TokenOptions, create_keys, create_token, revoke_token, sign_token,
    },
    get, setup,
};

const RESTORED_WITHIN: Duration = Duration::from_secs(5);

/// Starts a stack with its own Redis, whose callers may fail to authenticate any number of times.
async fn start() -> World {
    let setup = setup().set("MAYFLY_LIMITS__AUTH_FAILURES", "off");
    setup.scale(Service::ListApi, 1).dedicated_servers().start().await
}

/// Credentials of which the first two are valid. The others have been revoked or are unknown.
type Callers = [String; 5];

/// The statuses before and after a loss of data.
const CHECKED: [u16; 5] = [200, 200, 401, 401, 401];
/// The statuses while keys and revocations are not loaded.
const NOT_LOADED: [u16; 5] = [503; 5];

async fn read_statuses(world: &World, callers: &Callers) -> [u16; 5] {
    let mut statuses = [0; 5];
    for (status, credentials) in statuses.iter_mut().zip(callers) {
        *status = get(world, "/v1/messages", credentials).await.status;
    }
    statuses
}

async fn wait_for_statuses(world: &World, callers: &Callers, expected: [u16; 5]) {
    eventually(DEFAULT_TIMEOUT, &format!("the statuses are {expected:?}"), async || {
        let statuses = read_statuses(world, callers).await;
        if statuses == expected { Ok(()) } else { Err(statuses) }
    })
    .await;
}

/// Returns whether Redis has the versions of the keys and revocations, which it has only if all of
/// them are loaded.
async fn has_versions(world: &World) -> bool {
    let mut command = redis::cmd("EXISTS");
    command.arg(world.key("keys:version")).arg(world.key("revocations:version"));
    let mut redis = world.redis().await;
    let count: u32 = command.query_async(&mut redis).await.expect("Redis responds");
    count == 2
}

/// Waits until the keys are loaded and the credentials are checked again. Until then, each of the
/// callers receives either its own status or 503.
async fn wait_until_restored(world: &World, callers: &Callers, within: Duration) {
    let (began_at, mut unavailable) = (Instant::now(), 0);
    loop {
        let is_loaded = has_versions(world).await;
        let statuses = read_statuses(world, callers).await;
        for (status, checked) in statuses.into_iter().zip(CHECKED) {
            assert!(status == checked || status == 503, "{statuses:?}");
            unavailable += usize::from(status == 503);
        }
        if is_loaded && statuses == CHECKED {
            break;
        }
        assert!(began_at.elapsed() < within, "the keys are restored: {statuses:?}");
    }
    println!("restored after {:?}, {unavailable} responses with 503", began_at.elapsed());
}

/// Creates a valid key, a valid token, and a key, a token and a text that are none.
async fn create_callers(world: &World) -> (Callers, String) {
    let reader = NewKey { scopes: &["read"], ..NewKey::default() };
    let keys = create_keys(world, &[reader, reader]).await;
    let [valid, revoked] = keys.try_into().expect("two keys");
    let rights = json!({"subscribe": ["*"]});
    let token = create_token("fred", rights.clone());
    let id = Some("revoked");
    let options = TokenOptions { subject: "kiran", rights, ttl_s: 3_600, id, secret: SECRET };
    let callers = [valid, token, revoked.clone(), sign_token(&options), "mf_unknown".to_owned()];
    (callers, revoked)
}

async fn revoke(world: &World, key: &str) {
    let revoke = "UPDATE api_keys SET revoked_at = now() \
         WHERE hash = sha256(convert_to($1, 'UTF8'))";
    let revoked = world.postgres().await.execute(revoke, &[&key]).await;
    assert_eq!(revoked.expect("the key is revoked"), 1);
    revoke_token(world, "revoked").await;
}

/// Stores other keys and revocations, in a full run as many as possible.
async fn fill(world: &World) {
    let keys = short_or_full(2_000, limits::API_KEYS_MAX - 100);
    let revocations = short_or_full(4_000, limits::TOKEN_REVOCATIONS_MAX - 100);
    let fill = format!(
        "INSERT INTO api_keys (id, hash, name, start) \
             SELECT gen_random_uuid(), sha256(n::text::bytea), 'other', 'mf_' \
             FROM generate_series(1, {keys}) AS n; \
         INSERT INTO token_revocations (id, token_id) \
             SELECT gen_random_uuid(), n::text FROM generate_series(1, {revocations}) AS n"
    );
    world.postgres().await.batch_execute(&fill).await.expect("valid SQL");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_keys_are_neither_unknown_nor_accepted_until_they_are_restored() {
    let world = start().await;
    fill(&world).await;
    let (callers, revoked) = create_callers(&world).await;
    revoke(&world, &revoked).await;
    wait_for_statuses(&world, &callers, CHECKED).await;
    for _ in 0..3 {
        let mut redis = world.redis().await;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis is flushed");
        wait_until_restored(&world, &callers, with_slack(RESTORED_WITHIN)).await;
    }
}

/// Redis restarts with rows from before a revocation.
#[tokio::test(flavor = "multi_thread")]
async fn copy_of_redis_from_before_a_revocation_accepts_nothing_until_it_is_reloaded() {
    let world = start().await;
    let (callers, revoked) = create_callers(&world).await;
    let before = [200, 200, 200, 200, 401];
    wait_for_statuses(&world, &callers, before).await;
    let redis = ProcessKind::Redis;
    let data = Paths::new(&world.spec.root).data_dir().join("redis");
    let copy: PathBuf = world.spec.root.join("redis-copy");
    world.stack.stop(redis).await.expect("Redis stops");
    copy_dir(&data, &copy);
    world.stack.start(redis).await.expect("Redis starts");
    wait_for_statuses(&world, &callers, before).await;
    revoke(&world, &revoked).await;
    wait_for_statuses(&world, &callers, CHECKED).await;

    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    world.stack.stop(redis).await.expect("Redis stops");
    std::fs::remove_dir_all(&data).expect("the data is removed");
    copy_dir(&copy, &data);
    world.stack.start(redis).await.expect("Redis starts");
    let keys: usize = {
        let mut redis = world.redis().await;
        let mut count = redis::cmd("HLEN");
        count.arg(world.key("keys")).query_async(&mut redis).await.expect("Redis responds")
    };
    assert!(keys > 2, "Redis has the rows of the copy");
    eventually(DEFAULT_TIMEOUT, "list-api can reach Redis", async || {
        match world.admin(Service::ListApi, "/readyz").await {
            (200, _) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    // A process trusts its cache for up to a second.
    wait_for_statuses(&world, &callers, NOT_LOADED).await;
    for _ in 0..10 {
        assert_eq!(read_statuses(&world, &callers).await, NOT_LOADED);
    }
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    wait_until_restored(&world, &callers, DEFAULT_TIMEOUT).await;
}
