//! RFC 6455: every valid encoding of a text message is accepted.

use mayfly_tests::live::{FIN, LiveSocket, SocketEvent, encode, opcode};

use crate::live::shared;

const REQUEST: &str = r#"{"type":"ping"}"#;
const RESPONSE: &[u8] = br#"{"type":"pong"}"#;

async fn open() -> LiveSocket {
    let world = shared().await;
    LiveSocket::connect_with_hello(&world.live_url("channel=texts")).await.0
}

/// Splits a text into frames at these offsets.
fn fragments(text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut frames = Vec::new();
    let bounds: Vec<usize> = [&[0], cuts, &[text.len()]].concat();
    let last = bounds.len() - 2;
    for (number, bound) in bounds.windows(2).enumerate() {
        let head = if number == 0 { opcode::TEXT } else { opcode::CONTINUATION };
        let fin = if number == last { FIN } else { 0 };
        frames.extend(encode(head | fin, &text[bound[0]..bound[1]]));
    }
    frames
}

async fn expect_pong(live: &mut LiveSocket, bytes: &[u8]) {
    live.send_raw(bytes).await.expect("the connection is open");
    assert_eq!(live.receive().await, SocketEvent::Text(RESPONSE.into()));
}

#[tokio::test]
async fn all_length_encodings_are_accepted() {
    let mut live = open().await;
    for length in [15, 16, 124, 125, 126, 127, 128, 129, 1000, 4095, 4096] {
        let text = format!("{REQUEST:length$}");
        expect_pong(&mut live, &encode(FIN | opcode::TEXT, text.as_bytes())).await;
    }
}

#[tokio::test]
async fn text_can_be_fragmented_anywhere() {
    let mut live = open().await;
    let text = REQUEST.as_bytes();
    for first in 0..=text.len() {
        expect_pong(&mut live, &fragments(text, &[first])).await;
        expect_pong(&mut live, &fragments(text, &[first, text.len()])).await;
    }
    let each: Vec<usize> = (0..=text.len()).collect();
    expect_pong(&mut live, &fragments(text, &each)).await;
    let long = format!("{REQUEST:4096}");
    let each: Vec<usize> = (0..4096).collect();
    expect_pong(&mut live, &fragments(long.as_bytes(), &each)).await;
}

#[tokio::test]
async fn frame_can_arrive_byte_by_byte() {
    let mut live = open().await;
    let text = format!("{REQUEST:200}");
    let frames = [
        encode(FIN | opcode::TEXT, text.as_bytes()),
        fragments(REQUEST.as_bytes(), &[3, 9]),
        encode(FIN | opcode::PING, b"byte by byte"),
    ];
    for byte in frames.concat() {
        live.send_raw(&[byte]).await.expect("the connection is open");
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        assert_eq!(live.receive().await, SocketEvent::Text(RESPONSE.into()));
    }
    assert_eq!(live.receive().await, SocketEvent::Pong(b"byte by byte"[..].into()));
}

#[tokio::test]
async fn many_frames_can_arrive_together() {
    let mut live = open().await;
    let all: Vec<u8> =
        (0..100).flat_map(|cut| fragments(REQUEST.as_bytes(), &[cut % 15])).collect();
    live.send_raw(&all).await.expect("the connection is open");
    for _ in 0..100 {
        assert_eq!(live.receive().await, SocketEvent::Text(RESPONSE.into()));
    }
}

/// The server reports the unknown `type` in a frame. The text itself is valid.
#[tokio::test]
async fn all_of_unicode_is_accepted_even_if_fragmented_within_a_character() {
    let mut live = open().await;
    let borders = "\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{fffe}\u{ffff}\u{10000}\
                   \u{1fffe}\u{10fffe}\u{10ffff}";
    for word in ["κόσμε", "\u{1F98B}", borders, "Zal\u{300}\u{301}go", "日本語"] {
        let text = format!(r#"{{"type":"{word}"}}"#);
        for cut in 0..=text.len() {
            let frames = fragments(text.as_bytes(), &[cut]);
            live.send_raw(&frames).await.expect("the connection is open");
            let answer = live.next_frame().await;
            assert_eq!(answer["code"], "invalid_field", "{word:?} cut at {cut}: {answer}");
        }
    }
    live.send_text(r#"{"type":"\u0070ing"}"#).await;
    assert_eq!(live.next_frame().await["type"], "pong", "the text is JSON");
}
