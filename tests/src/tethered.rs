//! Programs that end with the test that needs them, however that ends.

use std::{ffi::OsStr, process::Stdio};

use tokio::process::{Child, Command};

/// Starts what it is given, and ends it as soon as nobody holds the other end of its input any more.
const TETHER: &str = r#""$@" </dev/null & cat; kill -KILL $!"#;

/// A program that is killed when this is dropped, and when this process ends: also where it is killed itself, and
/// where this stands in a static, which nobody drops.
#[derive(Debug)]
pub struct Tethered(#[expect(dead_code, reason = "it is held for its input")] Child);

impl Tethered {
    /// Starts a program; what it says goes into a file.
    ///
    /// # Panics
    /// When there is no shell.
    pub fn start<I, S>(words: I, log: std::fs::File) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut shell = Command::new("sh");
        shell.args(["-c", TETHER, "tether"]).args(words).stdin(Stdio::piped());
        shell.stdout(log.try_clone().expect("a file has two names")).stderr(log);
        Self(shell.spawn().expect("there is a shell"))
    }
}
