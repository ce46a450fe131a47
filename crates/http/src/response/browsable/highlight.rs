//! Formats JSON as HTML, indented, with a class for each kind of value. Digits, escapes and the
//! order of keys are preserved.

use std::borrow::Cow;

/// Maximum number of levels that increase the indentation.
const INDENTED_LEVELS_MAX: usize = 16;

/// Escapes a text for HTML, including for quoted attributes.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// Appends a JSON text as HTML. Text that is not JSON is formatted arbitrarily, but is still
/// escaped.
pub(super) fn highlight(json: &str, html: &mut String) {
    let mut level = 0_usize;
    let mut rest = json.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '{' | '[' | '}' | ']' | ',' | ':' => 1,
            _ => rest
                .find(['"', '{', '[', '}', ']', ',', ':', ' ', '\n', '\r', '\t'])
                .unwrap_or(rest.len()),
        };
        // A token has at least one character, so the loop always ends.
        let (token, after) = rest.split_at(length.max(first.len_utf8()));
        rest = after.trim_start();
        match first {
            '{' | '[' => {
                html.push(first);
                level += 1;
                let closing = if first == '{' { '}' } else { ']' };
                if !rest.starts_with(closing) {
                    break_line(html, level);
                }
            }
            '}' | ']' => {
                level = level.saturating_sub(1);
                if !html.ends_with(['{', '[']) {
                    break_line(html, level);
                }
                html.push(first);
            }
            ',' => {
                html.push(',');
                break_line(html, level);
            }
            ':' => html.push_str(": "),
            '"' if rest.starts_with(':') => push_span(html, "key", token),
            '"' => push_span(html, "string", token),
            '-' | '0'..='9' => push_span(html, "number", token),
            _ => push_span(html, "literal", token),
        }
    }
}

/// Returns the length in bytes of the string at the start of a text, including its quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

fn break_line(html: &mut String, level: usize) {
    html.push('\n');
    html.extend(std::iter::repeat_n("  ", level.min(INDENTED_LEVELS_MAX)));
}

fn push_span(html: &mut String, class: &str, token: &str) {
    html.extend(["<span class=\"", class, "\">", &escape(token), "</span>"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(json: &str) -> String {
        let mut html = String::new();
        highlight(json, &mut html);
        html
    }

    /// Removes the tags and reverts the escapes.
    fn strip(html: &str) -> String {
        let parts = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        parts
            .collect::<String>()
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&")
    }

    #[test]
    fn values_have_classes_and_lines() {
        let html = render(r#"{"a":[1.10e+2,null],"b":{},"c":"x: \"y\", {"}"#);
        let expected = concat!(
            "{\n  <span class=\"key\">&quot;a&quot;</span>: [\n    <span class=\"number\">1.10e+2</span>,\n    ",
            "<span class=\"literal\">null</span>\n  ],\n  <span class=\"key\">&quot;b&quot;</span>: {},\n  ",
            "<span class=\"key\">&quot;c&quot;</span>: ",
            "<span class=\"string\">&quot;x: \\&quot;y\\&quot;, {&quot;</span>\n}"
        );
        assert_eq!(html, expected);
    }

    #[test]
    fn markup_in_values_is_escaped() {
        let html = render(r#"{"<script>alert(1)</script>":"</pre><img src=x onerror='x'>&amp;"}"#);
        assert!(!html.contains("<script") && !html.contains("</pre") && !html.contains("<img"));
        assert!(html.contains("&lt;img src=x onerror=&#39;x&#39;&gt;&amp;amp;"), "{html}");
    }

    #[test]
    fn json_is_preserved_and_other_text_is_safe() {
        for json in [
            r#"{"a":[1,{"b":"c\\"}],"d":-0.0,"e":true}"#,
            r#"["\"",[],[[]],{"x":[]}]"#,
            "\"<b>\"",
            "12",
        ] {
            let text = strip(&render(json));
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
            assert_eq!(read(&text), read(json), "{text}");
        }
        for other in ["", "\"", "\"\\", "}}}<x>", "ü\u{2028}<", "{\"a\"", ",,:", "\u{a0}\u{a0}x"] {
            assert!(!render(other).contains("<x>"), "{other}");
        }
    }
}
