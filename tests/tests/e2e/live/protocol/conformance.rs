//! RFC 6455: protocol errors, the closing handshake and pings.

use futures_util::future::join_all;
use mayfly_tests::{
    World,
    live::{FIN, LiveSocket, SocketEvent, close_payload, encode, encode_unmasked, opcode},
};

use crate::live::shared;

const TEXT: u8 = FIN | opcode::TEXT;
const FIRST_FRAGMENT: u8 = opcode::TEXT;
const PING: u8 = FIN | opcode::PING;
const CLOSE: u8 = FIN | opcode::CLOSE;
/// A client frame and the response to it.
const REQUEST: &[u8] = br#"{"type":"ping"}"#;
const RESPONSE: &[u8] = br#"{"type":"pong"}"#;

async fn open(world: &World) -> LiveSocket {
    LiveSocket::connect_with_hello(&world.live_url("channel=conformance")).await.0
}

/// Sends each case on its own socket and expects the close code and the end of the connection.
async fn expect_closes(cases: Vec<(String, Vec<u8>, u16)>) {
    let world = shared().await;
    let check = async |(name, bytes, code): (String, Vec<u8>, u16)| {
        let mut live = open(&world).await;
        live.send_raw(&bytes).await.expect("the connection is open");
        let (closed, reason) = live.next_close().await;
        assert_eq!(closed, code, "{name}: {reason}");
        // After an incomplete frame, the server cannot parse the client's Close.
        live.shutdown_write().await;
        assert!(live.is_closed_by_server().await, "{name}: the connection stays open");
    };
    join_all(cases.into_iter().map(check)).await;
}

fn case(name: impl Into<String>, frames: &[Vec<u8>], code: u16) -> (String, Vec<u8>, u16) {
    (name.into(), frames.concat(), code)
}

#[tokio::test]
async fn unmasked_frame_is_a_protocol_error() {
    let heads = [TEXT, FIRST_FRAGMENT, PING, FIN | opcode::PONG, CLOSE, FIN | opcode::BINARY];
    let case = |head| case(format!("{head:#x}"), &[encode_unmasked(head, b"{}")], 1002);
    expect_closes(heads.map(case).to_vec()).await;
}

#[tokio::test]
async fn reserved_bits_and_opcodes_are_protocol_errors() {
    let mut cases = Vec::new();
    for bits in 1..8_u8 {
        for head in [TEXT, FIRST_FRAGMENT, PING, CLOSE, FIN | opcode::PONG] {
            let head = head | bits << 4;
            cases.push(case(format!("{head:#x}"), &[encode(head, &[])], 1002));
        }
    }
    let mid = |head| [encode(FIRST_FRAGMENT, b"{"), encode(head, b"}")];
    cases.push(case("reserved bits of a continuation", &mid(FIN | 0x40), 1002));
    for reserved in (0x3..=0x7).chain(0xB..=0xF) {
        cases.push(case(format!("opcode {reserved}"), &[encode(FIN | reserved, &[])], 1002));
        cases.push(case(format!("long {reserved}"), &[encode(FIN | reserved, &[b' '; 200])], 1002));
        cases.push(case(format!("{reserved} within a message"), &mid(FIN | reserved), 1002));
        cases.push(case(format!("{reserved}, not final"), &[encode(reserved, b"x")], 1002));
    }
    expect_closes(cases).await;
}

#[tokio::test]
async fn fragmented_or_long_control_frames_are_protocol_errors() {
    let mut cases = Vec::new();
    for (name, opcode) in [("ping", opcode::PING), ("pong", opcode::PONG), ("close", opcode::CLOSE)]
    {
        let rest = encode(FIN, b"x");
        cases.push(case(format!("{name}, fragmented"), &[encode(opcode, b""), rest], 1002));
        // A Close frame with a valid payload.
        let long = [&close_payload(1000, &[])[..], &[b'x'; 124]].concat();
        cases.push(case(format!("{name} of 126"), &[encode(FIN | opcode, &long)], 1002));
        let head = encode(FIN | opcode, &vec![b'x'; 0x1_0000])[..10].to_vec();
        cases.push(case(format!("{name} with a 64-bit length"), &[head], 1002));
    }
    expect_closes(cases).await;
}

#[tokio::test]
async fn continuation_frames_must_follow_a_first_fragment() {
    let (next, last) = (encode(opcode::CONTINUATION, b" "), encode(FIN, REQUEST));
    let (begun, whole) = (encode(FIRST_FRAGMENT, b" "), encode(TEXT, REQUEST));
    expect_closes(vec![
        case("final continuation without a first fragment", std::slice::from_ref(&last), 1002),
        case("continuation without a first fragment", std::slice::from_ref(&next), 1002),
        case("first fragment within a message", &[begun.clone(), begun.clone()], 1002),
        case("text frame within a message", &[begun, next.clone(), whole], 1002),
    ])
    .await;
    let world = shared().await;
    let mut live = open(&world).await;
    let all = [encode(FIRST_FRAGMENT, b" "), next, last.clone(), last].concat();
    live.send_raw(&all).await.expect("the connection is open");
    assert_eq!(
        live.receive().await,
        SocketEvent::Text(RESPONSE.into()),
        "earlier messages are answered"
    );
    assert_eq!(live.next_close().await.0, 1002, "the second continuation has no first fragment");
}

#[tokio::test]
async fn binary_frames_are_rejected() {
    let frames = |first, second: &[u8]| [encode(first, b""), encode(FIN, second)];
    expect_closes(vec![
        case("empty", &[encode(FIN | opcode::BINARY, b"")], 1003),
        case("JSON", &[encode(FIN | opcode::BINARY, REQUEST)], 1003),
        case("fragmented", &frames(opcode::BINARY, REQUEST), 1003),
    ])
    .await;
}

#[tokio::test]
async fn messages_over_4_kib_are_rejected() {
    let fragments = |last: u8, lengths: [usize; 2]| {
        [(FIRST_FRAGMENT, lengths[0]), (last, lengths[1])]
            .map(|(head, length)| encode(head, &vec![b' '; length]))
    };
    let announced = |length: u64| {
        let mut frame = encode(TEXT, &vec![b' '; 0x1_0000])[..14].to_vec();
        frame[2..10].copy_from_slice(&length.to_be_bytes());
        frame
    };
    expect_closes(vec![
        case("whole", &[encode(TEXT, &[b' '; 4097])], 1009),
        case("fragmented", &fragments(FIN | opcode::CONTINUATION, [4000, 97]), 1009),
        // Until a message is complete, it may be an `auth` frame, whose limit is 9 KiB.
        case("incomplete", &fragments(opcode::CONTINUATION, [9000, 217]), 1009),
        case("announced length of 1 MiB", &[announced(1 << 20)], 1009),
        case("announced length of 4 EiB", &[announced(1 << 62)], 1009),
    ])
    .await;
    // The most significant bit of a 64-bit length must be 0.
    let world = shared().await;
    let mut live = open(&world).await;
    live.send_raw(&announced(u64::MAX)).await.expect("the connection is open");
    let code = live.next_close().await.0;
    assert!([1002, 1009].contains(&code), "{code}");
}

#[tokio::test]
async fn invalid_utf8_is_rejected_at_the_first_invalid_byte() {
    let broken: [&[u8]; 20] = [
        b"\x80",
        b"\xBF",
        b"a\x80b",
        b"\xC2 ",
        b"\xE2\x82 ",
        b"\xF0\x9F\xA6 ",
        b"\xC0\xAF",
        b"\xC1\xBF",
        b"\xE0\x80\xAF",
        b"\xE0\x9F\xBF",
        b"\xF0\x80\x80\xAF",
        b"\xF0\x8F\xBF\xBF",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xED\xA0\xBD\xED\xB8\x80",
        b"\xF4\x90\x80\x80",
        b"\xF8\x88\x80\x80\x80",
        b"\xFC\x84\x80\x80\x80\x80",
        b"\xFE",
        b"\xFF",
    ];
    let mut cases = Vec::new();
    for bytes in broken {
        let name = format!("{bytes:x?}");
        let whole = [b"{\"type\":\"", bytes, b"\"}"].concat();
        cases.push(case(&name, &[encode(TEXT, &whole)], 1007));
        // The rest of the message is never sent.
        cases.push(case(format!("{name}, incomplete"), &[encode(FIRST_FRAGMENT, &whole)], 1007));
        let (one, other) = bytes.split_at(bytes.len() / 2);
        let parts = [encode(FIRST_FRAGMENT, one), encode(opcode::CONTINUATION, other)];
        cases.push(case(format!("{name} in two fragments"), &parts, 1007));
    }
    for cut in [&b"\xC2"[..], b"\xE2\x82", b"\xF0\x9F\xA6"] {
        cases.push(case(format!("{cut:x?} at the end"), &[encode(TEXT, cut)], 1007));
        let parts = [encode(FIRST_FRAGMENT, cut), encode(FIN, b"")];
        cases.push(case(format!("{cut:x?} at the end of the last fragment"), &parts, 1007));
    }
    expect_closes(cases).await;
}

#[tokio::test]
async fn close_is_answered_with_its_code() {
    let world = shared().await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        for reason in [&b""[..], "tschüß".as_bytes(), &[b'x'; 123]] {
            let mut live = open(&world).await;
            live.stop_answering();
            let close = encode(CLOSE, &close_payload(code, reason));
            live.send_raw(&close).await.expect("the connection is open");
            assert_eq!(live.next_close().await.0, code);
            assert!(live.is_closed_by_server().await, "{code}");
        }
    }
    let mut live = open(&world).await;
    live.stop_answering();
    live.send_raw(&encode(CLOSE, &[])).await.expect("the connection is open");
    let code = live.next_close().await.0;
    assert!([1000, 1005].contains(&code), "{code}");
    assert!(live.is_closed_by_server().await);
}

#[tokio::test]
async fn invalid_close_is_a_protocol_error() {
    let mut cases: Vec<_> =
        [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX]
            .map(|code| {
                case(format!("code {code}"), &[encode(CLOSE, &close_payload(code, b""))], 1002)
            })
            .into();
    cases.push(case("truncated code", &[encode(CLOSE, b"\x03")], 1002));
    let reason = close_payload(1000, b"\xCE\xBA\xE1\xBD\xB9\xED\xA0\x80");
    cases.push(case("reason that is not UTF-8", &[encode(CLOSE, &reason)], 1007));
    expect_closes(cases).await;
}

#[tokio::test]
async fn frames_after_a_close_are_ignored() {
    let world = shared().await;
    let close = encode(CLOSE, &close_payload(1000, b""));
    for after in [close.clone(), encode(PING, b"late"), encode(TEXT, REQUEST), encode(0x73, b"x")] {
        let mut live = open(&world).await;
        live.stop_answering();
        let all = [encode(TEXT, REQUEST), close.clone(), after].concat();
        live.send_raw(&all).await.expect("the connection is open");
        assert_eq!(
            live.receive().await,
            SocketEvent::Text(RESPONSE.into()),
            "frames before the Close are answered"
        );
        assert_eq!(live.receive().await, SocketEvent::Close(1000, String::new()));
        assert_eq!(live.receive().await, SocketEvent::Disconnected);
    }
}

#[tokio::test]
async fn close_within_a_fragmented_message_is_answered() {
    let close = encode(CLOSE, &close_payload(1000, b""));
    expect_closes(vec![case("within a message", &[encode(FIRST_FRAGMENT, b"{"), close], 1000)])
        .await;
}

#[tokio::test]
async fn pongs_echo_the_payload_of_pings() {
    let world = shared().await;
    let mut live = open(&world).await;
    for length in 0..=125_u8 {
        let payload: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
        live.send_raw(&encode(PING, &payload)).await.expect("the connection is open");
        assert_eq!(live.receive().await, SocketEvent::Pong(payload.into()));
    }
    // Each of many pings is answered.
    let pings: Vec<u8> = (0..10).flat_map(|number| encode(PING, &[number])).collect();
    live.send_raw(&pings).await.expect("the connection is open");
    for number in 0..10 {
        assert_eq!(live.receive().await, SocketEvent::Pong(vec![number].into()));
    }
}

#[tokio::test]
async fn ping_within_a_fragmented_message_is_answered_immediately() {
    let world = shared().await;
    let mut live = open(&world).await;
    let (one, rest) = REQUEST.split_at(7);
    let (two, three) = rest.split_at(4);
    for (frame, payload) in
        [(encode(FIRST_FRAGMENT, one), b"1"), (encode(opcode::CONTINUATION, two), b"2")]
    {
        let both = [frame, encode(PING, payload)].concat();
        live.send_raw(&both).await.expect("the connection is open");
        assert_eq!(live.receive().await, SocketEvent::Pong(payload.to_vec().into()));
    }
    live.send_raw(&encode(FIN, three)).await.expect("the connection is open");
    assert_eq!(live.receive().await, SocketEvent::Text(RESPONSE.into()));
}

#[tokio::test]
async fn unsolicited_pongs_are_ignored() {
    let world = shared().await;
    let mut live = open(&world).await;
    let pong = FIN | opcode::PONG;
    let all = [
        encode(pong, b""),
        encode(pong, &[0xFF; 125]),
        encode(FIRST_FRAGMENT, b" "),
        encode(pong, b"within a message"),
        encode(FIN, REQUEST),
        encode(PING, b"still there?"),
    ];
    live.send_raw(&all.concat()).await.expect("the connection is open");
    assert_eq!(live.receive().await, SocketEvent::Text(RESPONSE.into()));
    assert_eq!(live.receive().await, SocketEvent::Pong(b"still there?"[..].into()));
}
