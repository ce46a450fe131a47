//! Output to the terminal. Escaped text cannot control the terminal: it cannot move the cursor,
//! start a new line or change the text direction.

use std::{
    fmt::Write as _,
    io::{Write as _, stderr, stdout},
};

/// Prints one or more lines to standard output. Ignores write errors, such as a closed pipe in
/// `mayfly status | head -1`.
pub fn print(text: &str) {
    let _closed = writeln!(stdout(), "{}", text.trim_end_matches('\n'));
}

/// Prints a diagnostic message from the `mayfly` command to standard error. Ignores write errors.
pub fn print_err(text: &str) {
    let _closed = writeln!(stderr(), "mayfly: {text}");
}

/// Escapes every character that can control a terminal.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_control(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Escapes control characters in JSON. The result is equivalent JSON. Characters below U+0020 occur
/// only between tokens and become spaces. Other control characters occur only in strings and become
/// `\u` escapes.
pub fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\0'..' ' => escaped.push(' '),
            character if is_control(character) => {
                let _infallible = write!(escaped, "\\u{:04x}", u32::from(character));
            }
            character => escaped.push(character),
        }
    }
    escaped
}

/// Returns whether `character` is a control character, a line or paragraph separator, or a
/// character that changes the text direction.
pub fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_json_is_equivalent() {
        let json = "{\"text\":\"\u{9b}2J \u{7f} \u{202e}x é\"}";
        let escaped = escape_json(json);
        assert!(!escaped.contains(is_control), "{escaped}");
        let [before, after] = [json, &escaped]
            .map(|json| serde_json::from_str::<serde_json::Value>(json).expect("valid JSON"));
        assert_eq!(before, after);
    }
}
