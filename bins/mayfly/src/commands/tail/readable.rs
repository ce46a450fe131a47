//! Messages as lines. What others wrote must not steer the terminal that shows it: neither move the cursor, nor begin a
//! line, nor turn the direction of writing.

use std::fmt::Write as _;

use mayfly_core::message::MessageView;
use serde_json::value::RawValue;

/// How messages are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A line for people.
    Readable,
    /// The frame, as it came.
    Json,
    /// The frame, with escapes where it could steer the terminal: the same JSON in other words.
    JsonOnTerminal,
}

/// A message in a line: when, where, who, what, and from where.
pub(super) fn describe(message: &MessageView<'_>) -> String {
    let username = message.username.as_deref().unwrap_or("-");
    let mut line = format!("{} {} {username}:", message.created_at, message.channel);
    for part in [message.text.as_deref(), message.data.map(RawValue::get)].into_iter().flatten() {
        line.extend([" ", part]);
    }
    let place: Vec<&str> =
        [&message.city, &message.state].into_iter().flatten().map(String::as_str).collect();
    if !place.is_empty() {
        line.extend([" (", &place.join(", "), ")"]);
    }
    escape(&line)
}

/// A text in which every character that would steer a terminal is written down instead.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if steers(letter) {
            escaped.extend(letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// The same for JSON, which it remains, with the same meaning: such characters stand in its strings only.
pub(super) fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '\0'..' ' => escaped.push(' '),
            letter if steers(letter) => {
                let _written = write!(escaped, "\\u{:04x}", u32::from(letter));
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// Control characters, the ends of lines and paragraphs, and what turns the direction of writing.
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(rest: &str) -> String {
        let json = format!(
            r#"{{"id":"019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47","channel":"lobby",{rest},"created_at":"2026-11-20T19:07:00.123Z","expires_at":"2026-11-20T19:08:00.123Z"}}"#
        );
        describe(&MessageView::from_json(json.as_bytes()).expect("it is a message"))
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(
            show(
                r#""username":"fred","text":"Yo what up!","city":"New York","state":"NY","data":null"#
            ),
            "2026-11-20T19:07:00.123Z lobby fred: Yo what up! (New York, NY)"
        );
        assert_eq!(
            show(r#""username":null,"text":null,"city":null,"state":null,"data":{"b":1.0}"#),
            r#"2026-11-20T19:07:00.123Z lobby -: {"b":1.0}"#
        );
        assert_eq!(
            show(r#""username":"fred","text":"é","city":"Paris","state":null,"data":[1]"#),
            "2026-11-20T19:07:00.123Z lobby fred: é [1] (Paris)"
        );
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        let line = show(r#""username":"\u202efred","text":"a\nb\u001b[2J\u009b2J\u007f""#);
        assert!(line.ends_with(r"lobby \u{202e}fred: a\nb\u{1b}[2J\u{9b}2J\u{7f}"), "{line}");
        assert!(!line.contains(steers), "{line}");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let json = "{\"text\":\"\u{9b}2J \u{7f} \u{202e}x é\"}";
        let escaped = escape_json(json);
        assert!(!escaped.contains(steers), "{escaped}");
        let [before, after] = [json, &escaped]
            .map(|json| serde_json::from_str::<serde_json::Value>(json).expect("it is JSON"));
        assert_eq!(before, after);
    }
}
