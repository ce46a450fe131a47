//! The source refuses, fails, answers garbage, or nothing at all: who asks is told so, in time.

use std::time::Duration;

use mayfly_tests::{Answer, SourceReply};
use tokio::time::{Instant, sleep};

use super::{ask, increases, pages, shared};

/// Whoever asks is answered before.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Has a host sampled twice, so that it has an answer of its own.
async fn with_answer(host: &str) -> Answer {
    let (source, world) = shared().await;
    source.set_pages(host, &[("/a", 1)]);
    assert_eq!(increases(&ask(&world, "key", host).await), []);
    source.set_pages(host, &[("/a", 4)]);
    sleep(Duration::from_millis(3_100)).await;
    let answer = ask(&world, "key", host).await;
    assert_eq!(increases(&answer), pages(&[("/a", 3)]));
    sleep(Duration::from_millis(3_100)).await;
    answer
}

/// What is answered in time once the source answers so.
async fn ask_failing(host: &str, reply: SourceReply) -> Answer {
    let (source, world) = shared().await;
    source.set_reply(host, reply);
    let began = Instant::now();
    let answer = ask(&world, "key", host).await;
    assert!(began.elapsed() < ANSWERED_WITHIN, "{:?}", began.elapsed());
    answer
}

async fn expect_last(host: &str, reply: SourceReply) {
    let last = with_answer(host).await;
    let answer = ask_failing(host, reply).await;
    assert_eq!((answer.status, &answer.body), (200, &last.body), "{}", answer.text());
    assert_eq!(answer.header("mayfly-stale"), "true");
    let age: u64 = answer.header("age").parse().expect("it has an age");
    assert!((3..=9).contains(&age), "{age}");
}

fn silence() -> SourceReply {
    SourceReply::default().after(Duration::from_secs(5))
}

#[tokio::test]
async fn where_it_refuses_it_is_400_also_where_there_was_an_answer() {
    let host = "403.fails.example.org";
    let answer = ask_failing(host, SourceReply::status(403)).await;
    answer.expect_problem(400, "upstream_refused");
    let host = "403-later.fails.example.org";
    with_answer(host).await;
    let answer = ask_failing(host, SourceReply::status(403)).await;
    answer.expect_problem(400, "upstream_refused");
    let host = "404-later.fails.example.org";
    with_answer(host).await;
    let answer = ask_failing(host, SourceReply::status(404)).await;
    answer.expect_problem(400, "upstream_refused");
}

#[tokio::test]
async fn where_it_fails_it_is_502_unless_there_is_an_answer_of_the_last_minute() {
    let host = "500.fails.example.org";
    let answer = ask_failing(host, SourceReply::status(500)).await;
    answer.expect_problem(502, "upstream_failed");
    expect_last("500-later.fails.example.org", SourceReply::status(500)).await;
}

#[tokio::test]
async fn garbage_is_a_failure() {
    let garbage = [
        ("text", "no"),
        ("object", "{}"),
        ("pathless", r#"[{"i":"A","visitors":2}]"#),
        ("negative", r#"[{"i":"A","path":"/a","visitors":-2}]"#),
    ];
    for (name, body) in garbage {
        let host = format!("{name}.fails.example.org");
        let answer = ask_failing(&host, SourceReply::body(body)).await;
        answer.expect_problem(502, "upstream_failed");
    }
    expect_last("garbage-later.fails.example.org", SourceReply::body("no")).await;
}

#[tokio::test]
async fn more_than_four_mebibytes_are_a_failure() {
    let long = format!("[{}{{\"path\":\"/a\",\"visitors\":1}}]", " ".repeat(5 * 1024 * 1024));
    let answer = ask_failing("long.fails.example.org", SourceReply::body(&long)).await;
    answer.expect_problem(502, "upstream_failed");
}

#[tokio::test]
async fn silence_is_a_failure_after_three_seconds() {
    let answer = ask_failing("silent.fails.example.org", silence()).await;
    answer.expect_problem(502, "upstream_failed");
    expect_last("silent-later.fails.example.org", silence()).await;
}

#[tokio::test]
async fn it_is_not_followed_elsewhere() {
    let reply = SourceReply::status(302).header("location", "/live/toppages/?host=elsewhere");
    let answer = ask_failing("moved.fails.example.org", reply).await;
    answer.expect_problem(502, "upstream_failed");
    assert!(shared().await.0.calls("elsewhere").is_empty());
}

#[tokio::test]
async fn once_it_answers_again_so_do_we() {
    let host = "again.fails.example.org";
    expect_last(host, SourceReply::status(503)).await;
    let (source, world) = shared().await;
    source.set_pages(host, &[("/a", 9)]);
    source.set_reply(host, SourceReply::default());
    sleep(Duration::from_millis(3_100)).await;
    let answer = ask(&world, "key", host).await;
    assert_eq!(increases(&answer), pages(&[("/a", 5)]));
    assert_eq!(answer.header("mayfly-stale"), "");
}
