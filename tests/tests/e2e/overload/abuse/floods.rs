//! Frames, queries and heads with too many or too large parts.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse,
    live::{FIN, LiveSocket, UpgradeRequest, encode, opcode},
    short_or_full,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    SERVICES, Target, address,
    bystanders::{check_attack, expect_end},
    shared,
};

/// The number of frames that an attacker sends over one connection.
const FRAMES: usize = 10_000;
/// The length of the large frame in bytes.
const LARGE: usize = 10 * 1024 * 1024;
/// The number of bytes between two reads of an attacker.
const PART: usize = 64 * 1024;
/// How long an attacker waits for the server between two parts.
const READ_INTERVAL: Duration = Duration::from_millis(5);

async fn open(target: &Target, query: &str) -> LiveSocket {
    let bearer = format!("Bearer {}", target.key);
    let request = UpgradeRequest::new(&target.world.live_url(query));
    let request = request.header("authorization", &bearer);
    let mut live = request.send().await.expect("the socket opens");
    assert_eq!(live.next_frame().await["type"], "hello");
    live
}

/// Sends bytes until the server closes the connection. Returns the close code.
async fn send_until_closed(mut live: LiveSocket, bytes: &[u8]) -> u16 {
    for part in bytes.chunks(PART) {
        // The server may stop reading before it closes the connection.
        let sent = timeout(READ_INTERVAL, live.send_raw(part)).await;
        if matches!(sent, Ok(Err(_))) {
            break;
        }
        while let Ok(next) = timeout(READ_INTERVAL, live.next_text()).await {
            if let Err((code, _)) = next {
                return code;
            }
        }
    }
    live.next_close().await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn million_tiny_frames_are_refused_and_affect_no_one() {
    let target = shared().await;
    let connections = short_or_full(10, 100);
    let fragments = [
        encode(opcode::TEXT, b""),
        encode(opcode::CONTINUATION, b"").repeat(8),
        encode(FIN | opcode::CONTINUATION, b""),
    ];
    let floods = [
        encode(FIN | opcode::TEXT, br#"{"type":"ping"}"#).repeat(FRAMES),
        encode(FIN | opcode::PING, b"").repeat(FRAMES),
        fragments.concat().repeat(FRAMES / 10),
    ];
    check_attack(&target, "tiny frames", async || {
        for number in 0..connections {
            let live = open(&target, "channel=flood").await;
            let flood = &floods[number % floods.len()];
            let code = expect_end("tiny frames", send_until_closed(live, flood)).await;
            assert_eq!(code, 4002);
        }
        // Before the authentication.
        let live = LiveSocket::connect(&target.world.live_url("connect=frame")).await;
        let code = expect_end("tiny frames", send_until_closed(live, &floods[1])).await;
        assert_eq!(code, 4002);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_frame_is_refused_and_affects_no_one() {
    let target = shared().await;
    let frame = encode(FIN | opcode::TEXT, &vec![b' '; LARGE]);
    let fragments = [
        encode(opcode::TEXT, &[b' '; 1_000]),
        encode(opcode::CONTINUATION, &[b' '; 1_000]).repeat(40),
    ];
    let fragments = fragments.concat();
    check_attack(&target, "large frame", async || {
        for bytes in [&frame, &fragments] {
            let live = open(&target, "channel=flood").await;
            assert_eq!(expect_end("large frame", send_until_closed(live, bytes)).await, 1009);
        }
        let live = LiveSocket::connect(&target.world.live_url("connect=frame")).await;
        assert_eq!(expect_end("large frame", send_until_closed(live, &frame)).await, 1009);
    })
    .await;
}

/// Returns 16,000 distinct names, separated by `&`, which just fit into a request target.
fn distinct_parameters() -> String {
    let digit = |number: usize| char::from(b"0123456789abcdefghijklmnopqrstuvwxyz"[number % 36]);
    let name = |number: usize| -> String {
        [digit(number / 1_296), digit(number / 36), digit(number)].iter().collect()
    };
    let names: BTreeSet<_> = (0..16_000).map(name).collect();
    assert_eq!(names.len(), 16_000);
    names.into_iter().collect::<Vec<_>>().join("&")
}

#[tokio::test(flavor = "multi_thread")]
async fn many_distinct_parameters_are_refused_and_affect_no_one() {
    let target = shared().await;
    let world = &target.world;
    let parameters = distinct_parameters();
    let urls = [
        world.list_url(&format!("/v1/messages?{parameters}")),
        world.list_url(&format!("/api/v1.0/increasingconcurrents?{parameters}")),
        world.ingest_url(&format!("/message/write/?{parameters}")),
        world.url(Service::WsFanout, &format!("/v1/events?{parameters}")),
    ];
    let anonymous = reqwest::Client::new();
    check_attack(&target, "distinct parameters", async || {
        for _ in 0..short_or_full(2, 20) {
            for url in &urls {
                let response = ApiResponse::send(world.http.get(url)).await;
                response.expect_problem(400, "invalid_field");
            }
            let form = world.http.post(world.ingest_url("/message/write/"));
            let form = form.header("content-type", "application/x-www-form-urlencoded");
            let response = ApiResponse::send(form.body(parameters.clone())).await;
            response.expect_problem(400, "invalid_field");
            let response = ApiResponse::send(anonymous.get(&urls[0])).await;
            response.expect_problem(401, "unauthorized");
            let mut live = LiveSocket::connect(&world.live_url(&parameters)).await;
            assert_eq!(live.next_close().await.0, 4500);
        }
    })
    .await;
}

/// Sends a request and returns the status line of the response.
async fn send_raw(target: &Target, service: Service, request: &str) -> String {
    let stream = TcpStream::connect(address(target, service)).await.expect("the service listens");
    let (mut from, mut to) = stream.into_split();
    let request = request.to_owned();
    // The service may respond before it has read the whole request.
    let sender = tokio::spawn(async move {
        let _ = to.write_all(request.as_bytes()).await;
        to
    });
    let mut response = Vec::new();
    from.read_to_end(&mut response).await.ok();
    drop(sender.await);
    let response = String::from_utf8_lossy(&response);
    response.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_header_lines_are_refused_and_affect_no_one() {
    let target = shared().await;
    let lines: Vec<_> = (0..10_000).map(|number| format!("x{number}: 1\r\n")).collect();
    let head = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let request = format!("{head}{}\r\n", lines.concat());
    check_attack(&target, "header lines", async || {
        for _ in 0..short_or_full(2, 20) {
            let sent = SERVICES.map(|service| send_raw(&target, service, &request));
            for status in expect_end("header lines", join_all(sent)).await {
                assert!(status.starts_with("HTTP/1.1 431 "), "{status}");
            }
        }
    })
    .await;
}
