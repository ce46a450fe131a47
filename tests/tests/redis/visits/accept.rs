//! Acceptance of visits, and the hosts with visitors.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mayfly_core::Visit;
use mayfly_hot::{Capacity, ClientLimit, VisitWriteRequest, WriteOutcome};
use mayfly_runtime::settings::Rate;

use super::{HOST, crowd, on_host, visit, write_request};
use crate::{LONG, TestStore, host, is_fresh};

const TTL: Duration = Duration::from_secs(30);
const TOO_MANY_PAGES: WriteOutcome = WriteOutcome::CapacityExceeded(Capacity::PagesPerHost);
const TOO_MANY_HOSTS: WriteOutcome = WriteOutcome::CapacityExceeded(Capacity::Hosts);
const TOO_MANY_OWNED: WriteOutcome = WriteOutcome::CapacityExceeded(Capacity::HostsPerClient);
const ACCEPTED: WriteOutcome = WriteOutcome::Accepted(None);

/// Returns a request of a client with one visit to each host.
fn request_of(client: &str, hosts: &[&str]) -> VisitWriteRequest {
    let visits = hosts.iter().map(|name| on_host(name, visit("/", "v"))).collect();
    VisitWriteRequest { client: client.into(), ..write_request(visits) }
}

async fn visit_as(test: &TestStore, client: &str, hosts: &[&str]) -> WriteOutcome {
    test.visit_writer().write(request_of(client, hosts)).await.expect("Redis responds")
}

/// Writes requests in one batch.
async fn write_batch(test: &TestStore, requests: Vec<VisitWriteRequest>) -> Vec<WriteOutcome> {
    let writer = test.visit_writer();
    let outcomes = join_all(requests.into_iter().map(|request| writer.write(request))).await;
    outcomes.into_iter().map(|one| one.expect("Redis responds")).collect()
}

async fn list_hosts(test: &TestStore) -> Vec<String> {
    let hosts = test.hot.visits().list_hosts(TTL).await.expect("Redis responds");
    let mut hosts: Vec<_> = hosts.iter().map(|host| host.as_str().to_owned()).collect();
    hosts.sort();
    hosts
}

/// Sets the last heartbeat of a host to `age` ago.
async fn let_host_age(test: &TestStore, name: &str, age: Duration) {
    let at = test.now().await.minus(age).as_millis().to_string();
    test.query::<()>(&["ZADD", &test.keys().visited_hosts(), "XX", &at, name]).await;
}

/// Sets the last visits of a client to its hosts to a time after which it no longer owns them.
async fn let_ownership_end(test: &TestStore, client: &str, hosts: &[&str]) {
    let at = test.now().await.minus(TTL + Duration::from_secs(61)).as_millis().to_string();
    for name in hosts {
        test.query::<()>(&["ZADD", &test.keys().owned_hosts(client), "XX", &at, name]).await;
    }
}

#[tokio::test]
async fn request_above_the_page_limit_is_rejected_as_a_whole() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__PAGES_MAX", "2")]).await;
    test.visit(vec![visit("/1", "v")]).await;
    let visits = vec![visit("/1", "w"), visit("/2", "w"), visit("/3", "w")];
    assert_eq!(test.write_visits(visits).await, TOO_MANY_PAGES);
    assert_eq!(test.count_pages().await, [("/1".to_owned(), 1)]);
    // A page counts once per request, and other hosts are not affected.
    test.visit(vec![visit("/2", "w"), visit("/2", "x"), on_host("b.org", visit("/3", "w"))]).await;
    test.visit(vec![visit("/1", "y"), visit("/2", "y")]).await;
    assert_eq!(test.write_visits(vec![visit("/3", "v")]).await, TOO_MANY_PAGES);
}

#[tokio::test]
async fn capacities_hold_within_a_batch() {
    let env = [("MAYFLY_VISITS__PAGES_MAX", "1"), ("MAYFLY_VISITS__HOSTS_MAX", "2")];
    let test = TestStore::create_with(&env).await;
    let visits = [
        visit("/1", "v"),
        visit("/2", "v"),
        on_host("b.org", visit("/1", "v")),
        on_host("c.org", visit("/1", "v")),
    ];
    let requests = visits.map(|one| write_request(vec![one])).into();
    let outcomes = write_batch(&test, requests).await;
    assert_eq!(outcomes, [ACCEPTED, TOO_MANY_PAGES, ACCEPTED, TOO_MANY_HOSTS]);
}

#[tokio::test]
async fn pages_without_current_visitors_make_space() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__PAGES_MAX", "2")]).await;
    let visits = [visit("/1", "v"), visit("/2", "w")];
    test.visit(visits.to_vec()).await;
    test.let_visits_expire(&visits[..1]).await;
    test.visit(vec![visit("/3", "x")]).await;
    assert_eq!(test.count_pages().await, [("/2".to_owned(), 1), ("/3".to_owned(), 1)]);
    assert_eq!(test.write_visits(vec![visit("/4", "v")]).await, TOO_MANY_PAGES);
}

#[tokio::test]
async fn request_above_the_host_limit_is_rejected_as_a_whole() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__HOSTS_MAX", "2")]).await;
    test.visit(vec![visit("/", "v")]).await;
    let on = |name| on_host(name, visit("/", "v"));
    assert_eq!(test.write_visits(vec![on("b.org"), on("c.org")]).await, TOO_MANY_HOSTS);
    assert_eq!(list_hosts(&test).await, [HOST]);
    test.visit(vec![on("b.org"), on("b.org"), on(HOST)]).await;
    assert_eq!(test.write_visits(vec![on("c.org")]).await, TOO_MANY_HOSTS);
    test.hot.visits().remove_host(&host("b.org"), Duration::ZERO).await.expect("Redis responds");
    test.visit(vec![on("c.org")]).await;
}

#[tokio::test]
async fn host_without_visitors_makes_space() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__HOSTS_MAX", "1")]).await;
    test.visit(vec![visit("/", "v")]).await;
    let_host_age(&test, HOST, TTL + Duration::from_secs(61)).await;
    test.visit(vec![on_host("b.org", visit("/", "v"))]).await;
    assert_eq!(list_hosts(&test).await, ["b.org"]);
}

#[tokio::test]
async fn host_is_listed_for_a_minute_after_its_last_visitor() {
    let test = TestStore::create().await;
    assert_eq!(list_hosts(&test).await, Vec::<String>::new());
    test.visit(vec![visit("/", "v"), on_host("b.org", visit("/", "v"))]).await;
    let_host_age(&test, HOST, TTL + Duration::from_secs(50)).await;
    assert_eq!(list_hosts(&test).await, [HOST, "b.org"]);
    let_host_age(&test, HOST, TTL + Duration::from_secs(61)).await;
    assert_eq!(list_hosts(&test).await, ["b.org"]);
}

#[tokio::test]
async fn host_is_removed_unless_a_heartbeat_arrived() {
    let test = TestStore::create().await;
    test.visit(vec![visit("/", "v")]).await;
    let remove = async || {
        test.hot.visits().remove_host(&host(HOST), TTL).await.expect("Redis responds");
    };
    remove().await;
    assert_eq!(list_hosts(&test).await, [HOST]);
    let_host_age(&test, HOST, TTL).await;
    remove().await;
    assert_eq!(list_hosts(&test).await, Vec::<String>::new());
    // As if the clock had been set back.
    test.visit(vec![visit("/", "v")]).await;
    let at = test.now().await.plus(LONG).as_millis().to_string();
    test.query::<()>(&["ZADD", &test.keys().visited_hosts(), "XX", &at, HOST]).await;
    remove().await;
    assert_eq!(list_hosts(&test).await, Vec::<String>::new());
}

#[tokio::test]
async fn keys_of_a_host_expire_with_its_visitors() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__EXACT_MAX", "70")]).await;
    test.visit(crowd("/", 0, 100)).await;
    let own = test.keys().visits(&host(HOST));
    let keys: Vec<String> = test.query(&["KEYS", &format!("{}:*", own.prefix())]).await;
    assert!(keys.len() > 10, "{keys:?}");
    for key in keys {
        assert!(is_fresh(test.ttl(&key).await, TTL + Duration::from_secs(10)), "{key}");
    }
    let hosts = test.ttl(&test.keys().visited_hosts()).await;
    assert!(is_fresh(hosts, TTL + Duration::from_secs(60)), "{hosts:?}");
}

#[tokio::test]
async fn one_client_cannot_occupy_all_hosts() {
    let env = [("MAYFLY_VISITS__HOSTS_MAX", "4"), ("MAYFLY_VISITS__HOSTS_PER_CLIENT_MAX", "2")];
    let test = TestStore::create_with(&env).await;
    assert_eq!(visit_as(&test, "one", &["1.org", "2.org", "3.org"]).await, TOO_MANY_OWNED);
    assert_eq!(list_hosts(&test).await, Vec::<String>::new(), "rejected as a whole");
    assert_eq!(visit_as(&test, "one", &["1.org", "2.org"]).await, ACCEPTED);
    assert_eq!(visit_as(&test, "one", &["3.org"]).await, TOO_MANY_OWNED);
    assert_eq!(visit_as(&test, "two", &["3.org", "1.org"]).await, ACCEPTED);
    // Hosts of other clients do not count.
    assert_eq!(visit_as(&test, "one", &["1.org", "2.org", "3.org"]).await, ACCEPTED);
    assert_eq!(visit_as(&test, "two", &["4.org"]).await, ACCEPTED);
}

#[tokio::test]
async fn new_host_replaces_one_of_a_client_that_owns_more() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__HOSTS_MAX", "4")]).await;
    assert_eq!(visit_as(&test, "one", &["1.org", "2.org", "3.org"]).await, ACCEPTED);
    assert_eq!(visit_as(&test, "two", &["4.org"]).await, ACCEPTED);
    // Neither the client with the most hosts nor a request with several new hosts gets another
    // host.
    assert_eq!(visit_as(&test, "one", &["5.org"]).await, TOO_MANY_HOSTS);
    assert_eq!(visit_as(&test, "three", &["5.org", "6.org"]).await, TOO_MANY_HOSTS);
    assert_eq!(list_hosts(&test).await, ["1.org", "2.org", "3.org", "4.org"]);
    for (client, name) in [("three", "5.org"), ("four", "6.org")] {
        assert_eq!(visit_as(&test, client, &[name]).await, ACCEPTED);
    }
    let hosts = list_hosts(&test).await;
    assert_eq!(hosts[1..], ["4.org", "5.org", "6.org"], "one host of the first client: {hosts:?}");
    // Each other client owns one host, as the new client would.
    assert_eq!(visit_as(&test, "five", &["7.org"]).await, TOO_MANY_HOSTS);
    let owners = test.keys().visited_host_owners();
    assert_eq!(test.query::<u64>(&["HLEN", &owners]).await, 4);
    assert!(is_fresh(test.ttl(&owners).await, TTL + Duration::from_secs(60)));
}

#[tokio::test]
async fn several_clients_do_not_keep_others_out() {
    let env = [("MAYFLY_VISITS__HOSTS_MAX", "100"), ("MAYFLY_VISITS__HOSTS_PER_CLIENT_MAX", "10")];
    let test = TestStore::create_with(&env).await;
    let visit_all = async |client: usize| {
        let hosts: Vec<_> = (0..10).map(|number| format!("{client}.{number}.org")).collect();
        let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
        visit_as(&test, &client.to_string(), &hosts).await
    };
    for client in 0..10 {
        assert_eq!(visit_all(client).await, ACCEPTED);
    }
    for number in 0..50 {
        let (client, name) = (format!("new {number}"), format!("{number}.new.org"));
        assert_eq!(visit_as(&test, &client, &[&name]).await, ACCEPTED, "{number}");
    }
    // The earlier clients cannot take these hosts back.
    for client in 0..10 {
        visit_all(client).await;
    }
    let hosts = list_hosts(&test).await;
    assert_eq!(hosts.len(), 100);
    assert_eq!(hosts.iter().filter(|name| name.ends_with(".new.org")).count(), 50, "{hosts:?}");
}

#[tokio::test]
async fn host_passes_to_the_next_client_that_visits_it() {
    let env = [("MAYFLY_VISITS__HOSTS_MAX", "4"), ("MAYFLY_VISITS__HOSTS_PER_CLIENT_MAX", "2")];
    let test = TestStore::create_with(&env).await;
    assert_eq!(visit_as(&test, "one", &["1.org", "2.org"]).await, ACCEPTED);
    let_ownership_end(&test, "one", &["1.org", "2.org"]).await;
    // The second client visits the hosts after the first client stopped, and therefore owns them.
    assert_eq!(visit_as(&test, "two", &["1.org", "2.org"]).await, ACCEPTED);
    assert_eq!(visit_as(&test, "two", &["3.org"]).await, TOO_MANY_OWNED);
    assert_eq!(visit_as(&test, "one", &["3.org", "4.org"]).await, ACCEPTED);
    assert_eq!(visit_as(&test, "three", &["5.org"]).await, ACCEPTED);
}

#[tokio::test]
async fn client_at_its_limit_does_not_take_over_a_host() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__HOSTS_PER_CLIENT_MAX", "1")]).await;
    assert_eq!(visit_as(&test, "one", &["1.org"]).await, ACCEPTED);
    assert_eq!(visit_as(&test, "two", &["2.org"]).await, ACCEPTED);
    let_ownership_end(&test, "two", &["2.org"]).await;
    assert_eq!(visit_as(&test, "one", &["2.org"]).await, TOO_MANY_OWNED);
    assert_eq!(visit_as(&test, "three", &["2.org"]).await, ACCEPTED);
    assert_eq!(visit_as(&test, "one", &["2.org"]).await, ACCEPTED, "another client owns it");
}

#[tokio::test]
async fn host_that_returns_to_its_owner_counts_once() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__HOSTS_PER_CLIENT_MAX", "1")]).await;
    assert_eq!(visit_as(&test, "one", &["1.org"]).await, ACCEPTED);
    test.hot.visits().remove_host(&host("1.org"), Duration::ZERO).await.expect("Redis responds");
    assert_eq!(visit_as(&test, "one", &["1.org"]).await, ACCEPTED);
    assert_eq!(visit_as(&test, "one", &["2.org"]).await, TOO_MANY_OWNED);
}

#[tokio::test]
async fn hosts_of_a_client_are_limited_within_a_batch() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__HOSTS_PER_CLIENT_MAX", "1")]).await;
    let requests = vec![
        request_of("one", &["1.org"]),
        request_of("one", &["2.org"]),
        request_of("two", &["2.org"]),
        request_of("one", &["2.org", "1.org"]),
    ];
    assert_eq!(write_batch(&test, requests).await, [ACCEPTED, TOO_MANY_OWNED, ACCEPTED, ACCEPTED]);
}

#[tokio::test]
async fn host_counts_for_its_client_while_the_client_visits_it() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__HOSTS_PER_CLIENT_MAX", "1")]).await;
    let owned = test.keys().owned_hosts("one");
    let let_age = async |age: Duration| {
        let at = test.now().await.minus(age).as_millis().to_string();
        test.query::<()>(&["ZADD", &owned, "XX", &at, "1.org"]).await;
    };
    assert_eq!(visit_as(&test, "one", &["1.org"]).await, ACCEPTED);
    assert!(is_fresh(test.ttl(&owned).await, TTL + Duration::from_secs(60)));
    let_age(TTL + Duration::from_secs(50)).await;
    assert_eq!(visit_as(&test, "one", &["1.org"]).await, ACCEPTED, "the heartbeat renews it");
    let_age(TTL + Duration::from_secs(50)).await;
    assert_eq!(visit_as(&test, "one", &["2.org"]).await, TOO_MANY_OWNED);
    let_age(TTL + Duration::from_secs(61)).await;
    assert_eq!(visit_as(&test, "one", &["2.org"]).await, ACCEPTED);
}

#[tokio::test]
async fn visitor_counts_once_per_second_against_the_limit() {
    let test = TestStore::create().await;
    let writer = test.visit_writer();
    let rate = Rate { items: 100, window: Duration::from_secs(3_600) };
    let started = Instant::now();
    let count = async |visits: Vec<Visit>| {
        let limit = Some(ClientLimit { client: "client".into(), rate });
        let request = VisitWriteRequest { limit, ..write_request(visits) };
        match writer.write(request).await.expect("Redis responds") {
            WriteOutcome::Accepted(Some(status)) => u64::from(100 - status.remaining),
            other => panic!("{other:?}"),
        }
    };
    let (one, other) = (visit("/", "one"), visit("/", "other"));
    assert_eq!(count(vec![one.clone(), other.clone(), one.clone()]).await, 2);
    assert_eq!(count(vec![visit("/page", "one")]).await, 3, "a different page");
    for _ in 0..60 {
        let counted = count(vec![one.clone()]).await;
        assert!(counted <= 3 + started.elapsed().as_secs(), "{counted}");
    }
    test.let_age(std::slice::from_ref(&other), Duration::from_secs(2)).await;
    let before = count(vec![one.clone()]).await;
    assert_eq!(count(vec![other]).await, before + 1);
}

/// The hosts have names that look like parts of other keys.
#[tokio::test]
async fn visits_of_a_host_do_not_change_the_keys_of_others() {
    let test = TestStore::create().await;
    let names = [
        "zz",
        "zz:v0",
        "zz:p0",
        "zz:names",
        "zz:state",
        "hosts",
        "hosts:owned",
        "a",
        "a:names",
        "owned:a",
        "zz:v0:names",
    ];
    let visits = |names: &[&str]| -> Vec<Visit> {
        let paths = ["/1", "/2", "/3"].into_iter();
        let visit = |path| names.iter().map(move |name| on_host(name, visit(path, "v")));
        paths.flat_map(visit).collect()
    };
    for round in 0..2 {
        test.visit(visits(&names)).await;
        for name in names {
            let host = host(name);
            let sample = test.hot.visits().count_visitors(&host, &test.settings.visits).await;
            let sample = sample.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((sample.visitors, sample.pages.len()), (1, 3), "{name} in round {round}");
        }
    }
    // Another program adds members that are not hosts.
    let script = "return redis.call('ZADD', KEYS[1], ARGV[1], '\\255', ARGV[1], 'no host')";
    let at = test.now().await.as_millis().to_string();
    test.query::<()>(&["EVAL", script, "1", &test.keys().visited_hosts(), &at]).await;
    let mut listed = names.map(str::to_owned);
    listed.sort();
    assert_eq!(list_hosts(&test).await, listed);
}

#[tokio::test]
async fn host_with_a_key_of_the_wrong_type_rejects_only_its_visits() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__PAGES_MAX", "2")]).await;
    let keys = |name| test.keys().visits(&host(name));
    let class = mayfly_core::ShortHash::new("v").class();
    let overwritten = [keys("1.org").state(), keys("2.org").names(), keys("3.org").visits(class)];
    for key in &overwritten {
        test.query::<()>(&["SET", key, "x"]).await;
    }
    let requests = ["1.org", "2.org", "3.org", "4.org"].map(|name| request_of("one", &[name]));
    let outcomes = write_batch(&test, requests.into()).await;
    for outcome in &outcomes[..2] {
        let is_unreadable = matches!(outcome, WriteOutcome::UnreadableKey { error, .. }
            if error.starts_with("WRONGTYPE"));
        assert!(is_unreadable, "{outcome:?}");
    }
    assert_eq!(outcomes[2..], [ACCEPTED, ACCEPTED]);
    let sample = test.hot.visits().count_visitors(&host("4.org"), &test.settings.visits).await;
    assert_eq!(sample.expect("Redis responds").visitors, 1);
}

#[tokio::test]
async fn client_with_a_key_of_the_wrong_type_rejects_only_its_visits() {
    let test = TestStore::create().await;
    test.query::<()>(&["SET", &test.keys().owned_hosts("one"), "x"]).await;
    let requests = vec![request_of("one", &["1.org"]), request_of("two", &["1.org"])];
    let outcomes = write_batch(&test, requests).await;
    assert!(matches!(outcomes[0], WriteOutcome::UnreadableKey { .. }), "{outcomes:?}");
    assert_eq!(outcomes[1], ACCEPTED);
}

#[tokio::test]
async fn owners_of_the_wrong_type_reject_no_visits() {
    let env = [("MAYFLY_VISITS__HOSTS_MAX", "2"), ("MAYFLY_VISITS__HOSTS_PER_CLIENT_MAX", "2")];
    let test = TestStore::create_with(&env).await;
    test.query::<()>(&["SET", &test.keys().visited_host_owners(), "x"]).await;
    assert_eq!(visit_as(&test, "one", &["1.org", "2.org"]).await, ACCEPTED);
    for _ in 0..2 {
        assert_eq!(visit_as(&test, "two", &["1.org", "2.org"]).await, ACCEPTED);
    }
    assert_eq!(visit_as(&test, "two", &["3.org"]).await, TOO_MANY_HOSTS);
    let_host_age(&test, "1.org", TTL + Duration::from_secs(61)).await;
    assert_eq!(list_hosts(&test).await, ["2.org"]);
    test.hot.visits().remove_host(&host("2.org"), Duration::ZERO).await.expect("Redis responds");
    assert_eq!(list_hosts(&test).await, Vec::<String>::new());
}
