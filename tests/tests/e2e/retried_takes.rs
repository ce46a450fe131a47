//! A take whose answer was lost is asked for again, and gives the same.

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{Answer, Gate, OwnProcess, PATIENCE, Setup, World, eventually, id_of};
use redis::AsyncCommands;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

fn take(world: &World, n: usize, username: &str, limit: usize, key: &str) -> RequestBuilder {
    let urls = world.urls(Service::ListApi);
    let url = format!("{}/v1/users/{username}/messages/take?limit={limit}", urls[n % urls.len()]);
    world.http.post(url).header("idempotency-key", key)
}

async fn fill(world: &World, username: &str, messages: usize) {
    let batch: Vec<Value> = (0..messages)
        .map(|n| json!({"username": username, "text": format!("{n}"), "data": {"n": 1.0}, "ttl": 600}))
        .collect();
    let sent = world.http.post(world.ingest("/v1/messages/batch")).json(&batch);
    Answer::of(sent).await.expect(202);
}

fn items(answer: &Answer) -> Vec<Value> {
    answer.expect(200)["items"].as_array().cloned().expect("there are items")
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == "true"
}

#[tokio::test]
async fn the_same_items_come_again_from_redis_and_from_postgres_and_nobody_else_gets_them() {
    let world = Setup::new().own_servers().with(Service::ListApi, 2).start().await;
    for runs in [false, true] {
        let username = format!("again-{runs}");
        if runs {
            world.stack.start(Service::PersistWorker).await.expect("the worker starts");
        } else {
            world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
        }
        fill(&world, &username, 30).await;
        let first = Answer::of(take(&world, 0, &username, 10, &username)).await;
        assert!(!is_replayed(&first));
        assert_eq!(items(&first).len(), 10);
        if runs {
            let mut redis = world.redis().await;
            eventually(PATIENCE, "Postgres shows the take", async || {
                let taken: u64 = redis.hlen(world.key("taken")).await.expect("Redis answers");
                if taken == 0 { Ok(()) } else { Err(taken) }
            })
            .await;
        } else {
            world.stack.stop(mayfly_stack::Part::Postgres).await.expect("Postgres stops");
        }
        for n in 0..3 {
            let again = Answer::of(take(&world, n, &username, 10, &username)).await;
            assert!(is_replayed(&again));
            assert_eq!(again.text(), first.text());
        }
        if !runs {
            world.stack.start(mayfly_stack::Part::Postgres).await.expect("Postgres starts");
        }
        let others = world.take(&username).await;
        assert_eq!(others.len(), 20);
        assert!(others.iter().all(|other| !items(&first).contains(other)));
        let again = Answer::of(take(&world, 1, &username, 10, &username)).await;
        assert_eq!(again.text(), first.text());
    }
}

#[tokio::test]
async fn of_64_under_one_key_one_takes_and_all_get_its_items() {
    let world = Setup::new().with(Service::ListApi, 2).start().await;
    fill(&world, "crowd", 100).await;
    let answers = join_all((0..64).map(|n| Answer::of(take(&world, n, "crowd", 60, "one")))).await;
    assert_eq!(answers.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    for answer in &answers {
        assert_eq!(answer.expect(200), answers[0].json());
    }
    assert_eq!(items(&answers[0]).len(), 60);
    assert_eq!(answers[0].json()["has_more"], true);
    let rest = Answer::of(take(&world, 0, "crowd", 60, "two")).await;
    assert_eq!((items(&rest).len(), &rest.json()["has_more"]), (40, &json!(false)));
    // A take of nothing is not kept: it lost nobody anything.
    let none = Answer::of(take(&world, 0, "crowd", 60, "three")).await;
    assert!(items(&none).is_empty());
    fill(&world, "crowd", 1).await;
    let now = Answer::of(take(&world, 1, "crowd", 60, "three")).await;
    assert_eq!((is_replayed(&now), items(&now).len()), (false, 1));
}

#[tokio::test]
async fn the_inbox_taken_by_get_comes_again_as_well() {
    let world = World::shared().await;
    fill(&world, "chats", 3).await;
    let get = |key: &str| {
        world.http.get(world.list("/chats/chats?limit=2")).header("idempotency-key", key)
    };
    let first = Answer::of(get("chats")).await;
    let again = Answer::of(get("chats")).await;
    assert!(!is_replayed(&first) && is_replayed(&again));
    assert_eq!(again.expect(200), first.json());
    assert_eq!(first.json().as_array().map(Vec::len), Some(2));
    assert_eq!(world.take("chats").await.len(), 1);
}

#[tokio::test]
async fn with_redis_full_a_take_is_still_known_and_one_of_nothing_leaves_nothing() {
    let world = Setup::new().own_servers().start().await;
    fill(&world, "full", 5).await;
    let mut redis = world.redis().await;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("maxmemory").arg("1mb").exec_async(&mut redis).await.expect("Redis obeys");
    let refused = world.post("/v1/messages", &json!({"text": "x"})).await;
    assert_eq!(refused.status(), 503, "Redis is full");
    for n in 0..20 {
        let none = Answer::of(take(&world, 0, "nobody", 10, &format!("none-{n}"))).await;
        assert!(items(&none).is_empty());
    }
    // Of these keys alone: a worker at its work takes others away meanwhile.
    let kept: Vec<String> = redis.keys(world.key("idempotency:*")).await.expect("Redis answers");
    assert!(kept.is_empty(), "{kept:?}");
    let first = Answer::of(take(&world, 0, "full", 10, "full")).await;
    let again = Answer::of(take(&world, 0, "full", 10, "full")).await;
    assert!(is_replayed(&again));
    assert_eq!((items(&first).len(), again.text()), (5, first.text()));
}

#[tokio::test]
async fn a_key_is_for_one_inbox_and_one_limit_and_known_for_ten_minutes() {
    let world = World::shared().await;
    fill(&world, "keyed", 3).await;
    let first = Answer::of(take(&world, 0, "keyed", 2, "only")).await;
    assert_eq!(items(&first).len(), 2);
    let other_limit = Answer::of(take(&world, 0, "keyed", 3, "only")).await;
    other_limit.expect_problem(422, "idempotency_key_reused");
    let other_inbox = Answer::of(take(&world, 0, "someone", 2, "only")).await;
    other_inbox.expect_problem(422, "idempotency_key_reused");
    let mut redis = world.redis().await;
    let key = world.key("idempotency:v1:take:127.0.0.1:only");
    let lasts: i64 = redis.pttl(&key).await.expect("Redis answers");
    assert!((590_000..=600_000).contains(&lasts), "{lasts}");
    let wrong = Answer::of(take(&world, 0, "keyed", 2, "a\tb")).await;
    assert_eq!(wrong.expect_problem(400, "invalid_field"), ["Idempotency-Key"]);
    assert_eq!(world.take("keyed").await.len(), 1, "what was refused took nothing");
}

#[tokio::test]
async fn a_take_passes_over_what_expired_and_says_whether_more_is_live() {
    let world = World::shared().await;
    let short: Vec<Value> =
        (0..200).map(|n| json!({"username": "mixed", "text": format!("{n}"), "ttl": 1})).collect();
    Answer::of(world.http.post(world.ingest("/v1/messages/batch")).json(&short)).await.expect(202);
    fill(&world, "mixed", 3).await;
    let inbox = world.list("/v1/users/mixed/messages?limit=1000");
    eventually(PATIENCE, "the short ones expire", async || {
        let live = items(&Answer::of(world.http.get(&inbox)).await).len();
        if live == 3 { Ok(()) } else { Err(live) }
    })
    .await;
    let one = Answer::of(take(&world, 0, "mixed", 1, "mixed-1")).await;
    assert_eq!((items(&one).len(), &one.json()["has_more"]), (1, &json!(true)));
    let url = world.list("/v1/users/mixed/messages/take?limit=1");
    let plain = Answer::of(world.http.post(&url)).await;
    assert_eq!((items(&plain).len(), &plain.json()["has_more"]), (1, &json!(true)));
    let last = Answer::of(world.http.post(&url)).await;
    assert_eq!((items(&last).len(), &last.json()["has_more"]), (1, &json!(false)));
}

#[tokio::test]
async fn killed_between_take_and_answer_the_retry_elsewhere_gets_the_items() {
    let world = Setup::new().start().await;
    let gate = Gate::open(&world).await;
    let killed = OwnProcess::start_behind(&world, Service::ListApi, &gate).await;
    fill(&world, "warm", 1).await;
    fill(&world, "lost", 5).await;
    let warm = world.http.post(killed.url("/v1/users/warm/messages/take"));
    Answer::of(warm).await.expect(200);
    let send = |url: String| world.http.post(url).header("idempotency-key", "lost");

    let path = "/v1/users/lost/messages/take";
    gate.hold_answers_to_scripts();
    let unanswered = tokio::spawn(send(killed.url(path)).send());
    let mut redis = world.redis().await;
    let inbox = world.key("inbox:lost");
    eventually(PATIENCE, "it is taken", async || {
        let left: u64 = redis.zcard(&inbox).await.expect("Redis answers");
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    assert!(!unanswered.is_finished(), "its caller got no answer");
    killed.kill().await;
    unanswered.await.expect("it ends").expect_err("the connection broke");

    assert!(world.take("lost").await.is_empty(), "nobody else gets them");
    let retry = Answer::of(send(world.list(path))).await;
    assert!(is_replayed(&retry));
    let taken = items(&retry);
    assert_eq!(taken.len(), 5);
    for item in &taken {
        let (status, found) = world.get(&format!("/v1/messages/{}", id_of(item))).await;
        assert_eq!((status, &found), (200, item), "expired at the moment of the take");
    }
}
