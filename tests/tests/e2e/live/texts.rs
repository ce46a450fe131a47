//! RFC 6455: every way of writing a text down is understood.

use mayfly_tests::live::{FIN, Heard, Live, encode, opcode};

use super::shared;

const ASKED: &str = r#"{"type":"ping"}"#;
const ANSWER: &[u8] = br#"{"type":"pong"}"#;

async fn open() -> Live {
    let world = shared().await;
    Live::hello(&world.live("channel=texts")).await.0
}

/// Cuts a text into frames at these places.
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

async fn expect_pong(live: &mut Live, bytes: &[u8]) {
    live.send_raw(bytes).await.expect("the connection stands");
    assert_eq!(live.hear().await, Heard::Text(ANSWER.into()));
}

#[tokio::test]
async fn texts_of_every_form_of_length_are_understood() {
    let mut live = open().await;
    for length in [15, 16, 124, 125, 126, 127, 128, 129, 1000, 4095, 4096] {
        let text = format!("{ASKED:length$}");
        expect_pong(&mut live, &encode(FIN | opcode::TEXT, text.as_bytes())).await;
    }
}

#[tokio::test]
async fn a_text_may_be_cut_into_frames_anywhere() {
    let mut live = open().await;
    let text = ASKED.as_bytes();
    for first in 0..=text.len() {
        expect_pong(&mut live, &fragments(text, &[first])).await;
        expect_pong(&mut live, &fragments(text, &[first, text.len()])).await;
    }
    let each: Vec<usize> = (0..=text.len()).collect();
    expect_pong(&mut live, &fragments(text, &each)).await;
    let long = format!("{ASKED:4096}");
    let each: Vec<usize> = (0..4096).collect();
    expect_pong(&mut live, &fragments(long.as_bytes(), &each)).await;
}

#[tokio::test]
async fn a_frame_may_arrive_byte_by_byte() {
    let mut live = open().await;
    let text = format!("{ASKED:200}");
    let frames = [
        encode(FIN | opcode::TEXT, text.as_bytes()),
        fragments(ASKED.as_bytes(), &[3, 9]),
        encode(FIN | opcode::PING, b"byte by byte"),
    ];
    for byte in frames.concat() {
        live.send_raw(&[byte]).await.expect("the connection stands");
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        assert_eq!(live.hear().await, Heard::Text(ANSWER.into()));
    }
    assert_eq!(live.hear().await, Heard::Pong(b"byte by byte"[..].into()));
}

#[tokio::test]
async fn many_frames_may_arrive_at_once() {
    let mut live = open().await;
    let all: Vec<u8> = (0..100).flat_map(|cut| fragments(ASKED.as_bytes(), &[cut % 15])).collect();
    live.send_raw(&all).await.expect("the connection stands");
    for _ in 0..100 {
        assert_eq!(live.hear().await, Heard::Text(ANSWER.into()));
    }
}

/// A type that nobody knows is an error in a frame, not one of the text.
#[tokio::test]
async fn all_of_unicode_is_text_also_where_a_letter_is_cut() {
    let mut live = open().await;
    let borders = "\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{fffe}\u{ffff}\u{10000}\
                   \u{1fffe}\u{10fffe}\u{10ffff}";
    for word in ["κόσμε", "\u{1F98B}", borders, "Zal\u{300}\u{301}go", "日本語"] {
        let text = format!(r#"{{"type":"{word}"}}"#);
        for cut in 0..=text.len() {
            let frames = fragments(text.as_bytes(), &[cut]);
            live.send_raw(&frames).await.expect("the connection stands");
            let answer = live.next_frame().await;
            assert_eq!(answer["code"], "invalid_field", "{word:?} cut at {cut}: {answer}");
        }
    }
    live.send_text(r#"{"type":"\u0070ing"}"#).await;
    assert_eq!(live.next_frame().await["type"], "pong", "it is JSON");
}
