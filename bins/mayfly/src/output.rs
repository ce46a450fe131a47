//! What a command says.

use std::io::{Write as _, stdout};

/// Says something, a line or several, to whoever still listens: `mayfly status | head -1` is no failure.
pub(crate) fn say(text: &str) {
    let _unheard = writeln!(stdout(), "{}", text.trim_end_matches('\n'));
}
