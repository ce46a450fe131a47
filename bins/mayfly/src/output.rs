//! Output of the commands.

use std::io::{Write as _, stderr, stdout};

/// Prints one or several lines. A closed standard output is not an error, as in
/// `mayfly status | head -1`.
pub(crate) fn print(text: &str) {
    let _closed = writeln!(stdout(), "{}", text.trim_end_matches('\n'));
}

/// Prints a diagnostic message to standard error.
pub(crate) fn print_err(text: &str) {
    let _closed = writeln!(stderr(), "mayfly: {text}");
}
