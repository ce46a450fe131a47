//! Output formats of messages.

use mayfly_core::message::MessageView;
use mayfly_live_client::terminal::escape;
use serde_json::value::RawValue;

/// The output format of messages and frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputFormat {
    /// One line of text for people.
    Text,
    /// The frame as received.
    Json,
    /// The frame, escaped to equivalent JSON that is safe to print to a terminal.
    EscapedJson,
}

/// Formats a message as one line: time, channel, username, text, data and place.
pub(super) fn format_message(message: &MessageView<'_>) -> String {
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

#[cfg(test)]
mod tests {
    use mayfly_live_client::terminal::is_control;

    use super::*;

    fn format(fields: &str) -> String {
        let json = format!(
            r#"{{"id":"019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47","channel":"lobby",{fields},"created_at":"2026-11-20T19:07:00.123Z","expires_at":"2026-11-20T19:08:00.123Z"}}"#
        );
        format_message(&MessageView::from_json(json.as_bytes()).expect("a valid message"))
    }

    #[test]
    fn message_is_formatted_as_one_line() {
        assert_eq!(
            format(
                r#""username":"fred","text":"Yo what up!","city":"New York","state":"NY","data":null"#
            ),
            "2026-11-20T19:07:00.123Z lobby fred: Yo what up! (New York, NY)"
        );
        assert_eq!(
            format(r#""username":null,"text":null,"city":null,"state":null,"data":{"b":1.0}"#),
            r#"2026-11-20T19:07:00.123Z lobby -: {"b":1.0}"#
        );
        assert_eq!(
            format(r#""username":"fred","text":"é","city":"Paris","state":null,"data":[1]"#),
            "2026-11-20T19:07:00.123Z lobby fred: é [1] (Paris)"
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        let line = format(r#""username":"\u202efred","text":"a\nb\u001b[2J\u009b2J\u007f""#);
        assert!(line.ends_with(r"lobby \u{202e}fred: a\nb\u{1b}[2J\u{9b}2J\u{7f}"), "{line}");
        assert!(!line.contains(is_control), "{line}");
    }
}
