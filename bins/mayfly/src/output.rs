//! What a command says.

use std::io::{Write as _, stderr, stdout};

/// Says something, a line or several, to whoever still listens: `mayfly status | head -1` is no failure.
pub(crate) fn say(text: &str) {
    let _unheard = writeln!(stdout(), "{}", text.trim_end_matches('\n'));
}

/// Says how the work goes, beside what it brings.
pub(crate) fn remark(text: &str) {
    let _unheard = writeln!(stderr(), "mayfly: {text}");
}
