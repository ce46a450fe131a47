//! Who may ask which pages increase, where visitors are our own.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{Answer, OwnProcess, eventually};
use serde_json::json;

use super::{get, increases, now, put_key, put_sighting, quiet, quiet_setup, sighting};

#[tokio::test]
async fn pages_that_increase_are_listed_the_greatest_change_first() {
    let world = quiet().await;
    put_key(&world, "good", &["inc.example.org", "first.example.org"], false).await;
    let pages = [
        ("/less", 9, Some(20)),
        ("/new", 8, None),
        ("/two", 7, Some(5)),
        ("/most", 6, Some(1)),
        ("/same", 5, Some(5)),
        ("/also", 4, Some(2)),
    ];
    put_sighting(&world, &sighting("inc.example.org", now(), &pages)).await;
    let list = increases(&world, "good", "INC.example.org").await;
    let page = |path: &str, visitors: u64, change: u64| json!({"path": path, "title": format!("Title of {path}"), "visitors": visitors, "change": change});
    assert_eq!(
        list.expect(200),
        json!([page("/most", 6, 5), page("/two", 7, 2), page("/also", 4, 2)])
    );
    assert!(!list.headers.contains_key("age") && !list.headers.contains_key("mayfly-stale"));
    assert_eq!(list.header("content-type"), "application/json");
    assert_eq!(increases(&world, "good", "first.example.org").await.expect(200), json!([]));
}

#[tokio::test]
async fn without_a_key_for_the_host_it_is_401() {
    let world = quiet().await;
    put_key(&world, "of-a", &["a.keys.example.org"], false).await;
    put_key(&world, "revoked", &["a.keys.example.org"], true).await;
    let path = "/api/v1.0/increasingconcurrents";
    let long = format!("?apikey={}&host=a.keys.example.org", "k".repeat(257));
    let refused = [
        "",
        "?apikey=of-a",
        "?apikey=of-a&host=",
        "?host=a.keys.example.org",
        "?apikey=&host=a.keys.example.org",
        "?apikey=of-a&host=b.keys.example.org",
        "?apikey=of-a&host=a%20b",
        "?apikey=of%0Aa&host=a.keys.example.org",
        "?apikey=nobodys&host=a.keys.example.org",
        "?apikey=revoked&host=a.keys.example.org",
        &long,
    ];
    for query in refused {
        let answer = get(&world, &format!("{path}{query}")).await;
        answer.expect_problem(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{query}");
    }
    let unknown = get(&world, &format!("{path}?apikey=of-a&host=a.keys.example.org&x=1")).await;
    assert_eq!(unknown.expect_problem(400, "invalid_field"), ["x"]);
    increases(&world, "of-a", "a.keys.example.org").await.expect(200);
}

#[tokio::test]
async fn a_key_that_is_revoked_is_refused_within_a_second_everywhere() {
    let world = quiet().await;
    put_key(&world, "turns", &["turns.example.org"], false).await;
    let other = OwnProcess::start(&world, Service::ListApi).await;
    let path = "/api/v1.0/increasingconcurrents?apikey=turns&host=turns.example.org";
    let urls = [world.list(path), other.url(path)];
    let ask = async |url: &String| Answer::of(world.http.get(url)).await.status;
    for url in &urls {
        assert_eq!(ask(url).await, 200);
    }
    put_key(&world, "turns", &["turns.example.org"], true).await;
    eventually(Duration::from_secs(1), "it is refused", async || {
        match (ask(&urls[0]).await, ask(&urls[1]).await) {
            (401, 401) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn while_the_keys_are_not_back_nobody_is_refused() {
    let world = quiet_setup().start().await;
    put_key(&world, "early", &["early.example.org"], false).await;
    let answer = increases(&world, "early", "early.example.org").await;
    answer.expect_problem(503, "unavailable");
    assert!(answer.headers.contains_key("retry-after"));
    super::know_all_keys(&world).await;
    increases(&world, "early", "early.example.org").await.expect(200);
}
