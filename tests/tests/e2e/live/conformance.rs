//! RFC 6455: what a server must refuse, how both sides close, and pings.

use futures_util::future::join_all;
use mayfly_tests::{
    World,
    live::{FIN, Heard, Live, close_payload, encode, encode_unmasked, opcode},
};

use super::shared;

const TEXT: u8 = FIN | opcode::TEXT;
const BEGUN: u8 = opcode::TEXT;
const PING: u8 = FIN | opcode::PING;
const CLOSE: u8 = FIN | opcode::CLOSE;
/// What a client says, and what is answered.
const ASKED: &[u8] = br#"{"type":"ping"}"#;
const ANSWER: &[u8] = br#"{"type":"pong"}"#;

async fn open(world: &World) -> Live {
    Live::hello(&world.live("channel=conformance")).await.0
}

/// Sends each of these on a socket of its own and expects the close code, and the end of the
/// connection.
async fn expect_closes(cases: Vec<(String, Vec<u8>, u16)>) {
    let world = shared().await;
    let check = async |(name, bytes, code): (String, Vec<u8>, u16)| {
        let mut live = open(&world).await;
        live.send_raw(&bytes).await.expect("the connection stands");
        let (closed, reason) = live.next_close().await;
        assert_eq!(closed, code, "{name}: {reason}");
        // What was broken off in the middle hides the answer to the close.
        live.end().await;
        assert!(live.is_ended().await, "{name}: the connection stays");
    };
    join_all(cases.into_iter().map(check)).await;
}

fn case(name: impl Into<String>, frames: &[Vec<u8>], code: u16) -> (String, Vec<u8>, u16) {
    (name.into(), frames.concat(), code)
}

#[tokio::test]
async fn a_frame_that_is_not_masked_is_a_protocol_error() {
    let heads = [TEXT, BEGUN, PING, FIN | opcode::PONG, CLOSE, FIN | opcode::BINARY];
    let case = |head| case(format!("{head:#x}"), &[encode_unmasked(head, b"{}")], 1002);
    expect_closes(heads.map(case).to_vec()).await;
}

#[tokio::test]
async fn reserved_bits_and_opcodes_are_protocol_errors() {
    let mut cases = Vec::new();
    for bits in 1..8_u8 {
        for head in [TEXT, BEGUN, PING, CLOSE, FIN | opcode::PONG] {
            let head = head | bits << 4;
            cases.push(case(format!("{head:#x}"), &[encode(head, &[])], 1002));
        }
    }
    let mid = |head| [encode(BEGUN, b"{"), encode(head, b"}")];
    cases.push(case("bits of a continuation", &mid(FIN | 0x40), 1002));
    for reserved in (0x3..=0x7).chain(0xB..=0xF) {
        cases.push(case(format!("opcode {reserved}"), &[encode(FIN | reserved, &[])], 1002));
        cases.push(case(format!("long {reserved}"), &[encode(FIN | reserved, &[b' '; 200])], 1002));
        cases.push(case(format!("{reserved} amid a message"), &mid(FIN | reserved), 1002));
        cases.push(case(format!("{reserved}, not final"), &[encode(reserved, b"x")], 1002));
    }
    expect_closes(cases).await;
}

#[tokio::test]
async fn control_frames_are_whole_and_short() {
    let mut cases = Vec::new();
    for (name, opcode) in [("ping", opcode::PING), ("pong", opcode::PONG), ("close", opcode::CLOSE)]
    {
        let rest = encode(FIN, b"x");
        cases.push(case(format!("{name} in parts"), &[encode(opcode, b""), rest], 1002));
        // A close frame whose payload would be right.
        let long = [&close_payload(1000, &[])[..], &[b'x'; 124]].concat();
        cases.push(case(format!("{name} of 126"), &[encode(FIN | opcode, &long)], 1002));
        let head = encode(FIN | opcode, &vec![b'x'; 0x1_0000])[..10].to_vec();
        cases.push(case(format!("{name} that begins long"), &[head], 1002));
    }
    expect_closes(cases).await;
}

#[tokio::test]
async fn continuations_follow_a_beginning_and_nothing_else_does() {
    let (next, last) = (encode(opcode::CONTINUATION, b" "), encode(FIN, ASKED));
    let (begun, whole) = (encode(BEGUN, b" "), encode(TEXT, ASKED));
    expect_closes(vec![
        case("last without a beginning", std::slice::from_ref(&last), 1002),
        case("next without a beginning", std::slice::from_ref(&next), 1002),
        case("a beginning in a message", &[begun.clone(), begun.clone()], 1002),
        case("a text in a message", &[begun, next.clone(), whole], 1002),
    ])
    .await;
    let world = shared().await;
    let mut live = open(&world).await;
    let all = [encode(BEGUN, b" "), next, last.clone(), last].concat();
    live.send_raw(&all).await.expect("the connection stands");
    assert_eq!(live.hear().await, Heard::Text(ANSWER.into()), "what came before is answered");
    assert_eq!(live.next_close().await.0, 1002, "the second has no beginning");
}

#[tokio::test]
async fn what_is_no_text_is_refused() {
    let frames = |first, second: &[u8]| [encode(first, b""), encode(FIN, second)];
    expect_closes(vec![
        case("empty", &[encode(FIN | opcode::BINARY, b"")], 1003),
        case("JSON", &[encode(FIN | opcode::BINARY, ASKED)], 1003),
        case("in parts", &frames(opcode::BINARY, ASKED), 1003),
    ])
    .await;
}

#[tokio::test]
async fn a_message_is_at_most_4_kib() {
    let (first, rest) = (encode(BEGUN, &[b' '; 4000]), encode(opcode::CONTINUATION, &[b' '; 97]));
    let announced = |length: u64| {
        let mut frame = encode(TEXT, &vec![b' '; 0x1_0000])[..14].to_vec();
        frame[2..10].copy_from_slice(&length.to_be_bytes());
        frame
    };
    expect_closes(vec![
        case("whole", &[encode(TEXT, &[b' '; 4097])], 1009),
        case("in parts", &[first, rest], 1009),
        case("1 MiB to come", &[announced(1 << 20)], 1009),
        case("more than there is in the world", &[announced(1 << 62)], 1009),
    ])
    .await;
    // A length of 64 bits has none for a sign.
    let world = shared().await;
    let mut live = open(&world).await;
    live.send_raw(&announced(u64::MAX)).await.expect("the connection stands");
    let code = live.next_close().await.0;
    assert!([1002, 1009].contains(&code), "{code}");
}

#[tokio::test]
async fn a_text_that_is_no_utf8_is_refused_as_soon_as_that_is_known() {
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
        // What follows never comes.
        cases.push(case(format!("{name}, more to come"), &[encode(BEGUN, &whole)], 1007));
        let (one, other) = bytes.split_at(bytes.len() / 2);
        let parts = [encode(BEGUN, one), encode(opcode::CONTINUATION, other)];
        cases.push(case(format!("{name} over two frames"), &parts, 1007));
    }
    for cut in [&b"\xC2"[..], b"\xE2\x82", b"\xF0\x9F\xA6"] {
        cases.push(case(format!("{cut:x?} at the end"), &[encode(TEXT, cut)], 1007));
        let parts = [encode(BEGUN, cut), encode(FIN, b"")];
        cases.push(case(format!("{cut:x?} at the end of parts"), &parts, 1007));
    }
    expect_closes(cases).await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let world = shared().await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        for reason in [&b""[..], "tschüß".as_bytes(), &[b'x'; 123]] {
            let mut live = open(&world).await;
            live.mute();
            let close = encode(CLOSE, &close_payload(code, reason));
            live.send_raw(&close).await.expect("the connection stands");
            assert_eq!(live.next_close().await.0, code);
            assert!(live.is_ended().await, "{code}");
        }
    }
    let mut live = open(&world).await;
    live.mute();
    live.send_raw(&encode(CLOSE, &[])).await.expect("the connection stands");
    let code = live.next_close().await.0;
    assert!([1000, 1005].contains(&code), "{code}");
    assert!(live.is_ended().await);
}

#[tokio::test]
async fn a_close_that_is_wrong_is_a_protocol_error() {
    let mut cases: Vec<_> =
        [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX]
            .map(|code| {
                case(format!("code {code}"), &[encode(CLOSE, &close_payload(code, b""))], 1002)
            })
            .into();
    cases.push(case("half a code", &[encode(CLOSE, b"\x03")], 1002));
    let reason = close_payload(1000, b"\xCE\xBA\xE1\xBD\xB9\xED\xA0\x80");
    cases.push(case("a reason that is no UTF-8", &[encode(CLOSE, &reason)], 1007));
    expect_closes(cases).await;
}

#[tokio::test]
async fn after_a_close_nothing_is_answered() {
    let world = shared().await;
    let close = encode(CLOSE, &close_payload(1000, b""));
    for after in [close.clone(), encode(PING, b"late"), encode(TEXT, ASKED), encode(0x73, b"x")] {
        let mut live = open(&world).await;
        live.mute();
        let all = [encode(TEXT, ASKED), close.clone(), after].concat();
        live.send_raw(&all).await.expect("the connection stands");
        assert_eq!(live.hear().await, Heard::Text(ANSWER.into()), "what came before is");
        assert_eq!(live.hear().await, Heard::Close(1000, String::new()));
        assert_eq!(live.hear().await, Heard::Lost);
    }
}

#[tokio::test]
async fn a_close_amid_a_message_is_answered_too() {
    let close = encode(CLOSE, &close_payload(1000, b""));
    expect_closes(vec![case("amid a message", &[encode(BEGUN, b"{"), close], 1000)]).await;
}

#[tokio::test]
async fn pings_are_answered_with_what_they_carry() {
    let world = shared().await;
    let mut live = open(&world).await;
    for length in 0..=125_u8 {
        let payload: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
        live.send_raw(&encode(PING, &payload)).await.expect("the connection stands");
        assert_eq!(live.hear().await, Heard::Pong(payload.into()));
    }
    // Many at once, each is answered.
    let pings: Vec<u8> = (0..10).flat_map(|number| encode(PING, &[number])).collect();
    live.send_raw(&pings).await.expect("the connection stands");
    for number in 0..10 {
        assert_eq!(live.hear().await, Heard::Pong(vec![number].into()));
    }
}

#[tokio::test]
async fn a_ping_amid_a_message_is_answered_at_once_and_does_not_end_it() {
    let world = shared().await;
    let mut live = open(&world).await;
    let (one, rest) = ASKED.split_at(7);
    let (two, three) = rest.split_at(4);
    for (frame, payload) in [(encode(BEGUN, one), b"1"), (encode(opcode::CONTINUATION, two), b"2")]
    {
        let both = [frame, encode(PING, payload)].concat();
        live.send_raw(&both).await.expect("the connection stands");
        assert_eq!(live.hear().await, Heard::Pong(payload.to_vec().into()));
    }
    live.send_raw(&encode(FIN, three)).await.expect("the connection stands");
    assert_eq!(live.hear().await, Heard::Text(ANSWER.into()));
}

#[tokio::test]
async fn pongs_that_nobody_asked_for_are_ignored() {
    let world = shared().await;
    let mut live = open(&world).await;
    let pong = FIN | opcode::PONG;
    let all = [
        encode(pong, b""),
        encode(pong, &[0xFF; 125]),
        encode(BEGUN, b" "),
        encode(pong, b"amid a message"),
        encode(FIN, ASKED),
        encode(PING, b"still there?"),
    ];
    live.send_raw(&all.concat()).await.expect("the connection stands");
    assert_eq!(live.hear().await, Heard::Text(ANSWER.into()));
    assert_eq!(live.hear().await, Heard::Pong(b"still there?"[..].into()));
}
