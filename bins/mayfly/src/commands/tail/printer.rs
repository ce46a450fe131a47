//! Standard output, which whoever reads it may hold up: the connection and signals are heeded meanwhile.

use std::io::{self, Write as _, stdout};
use std::os::fd::AsFd as _;
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;

/// Lines that may wait; when there are more, nothing is read from the connection.
const LINES_MAX: usize = 1_000;

/// A thread that prints lines.
#[derive(Debug)]
pub(super) struct Printer {
    lines: Sender<String>,
    thread: JoinHandle<()>,
}

impl Printer {
    pub(super) fn start() -> io::Result<Self> {
        let (lines, waiting) = mpsc::channel(LINES_MAX);
        let thread = thread::Builder::new().name("printer".to_owned());
        // An error of standard output means that nobody listens, which the sender notices.
        let thread = thread.spawn(|| drop(print_all(waiting)))?;
        Ok(Self { lines, thread })
    }

    /// Prints a line as soon as those before it are printed.
    pub(super) async fn print(&self, line: String) {
        let _unheard = self.lines.send(line).await;
    }

    /// Returns when nobody listens any more.
    pub(super) async fn unheard(&self) {
        tokio::select! {
            () = self.lines.closed() => {}
            () = stdout_closed() => {}
        }
    }

    /// Returns when all is printed.
    pub(super) fn finish(self) {
        drop(self.lines);
        let _ended = self.thread.join();
    }
}

/// Prints what waits, then lets it be seen, again and again.
fn print_all(mut waiting: Receiver<String>) -> io::Result<()> {
    let mut out = io::BufWriter::new(stdout().lock());
    while let Some(line) = waiting.blocking_recv() {
        writeln!(out, "{line}")?;
        while let Ok(line) = waiting.try_recv() {
            writeln!(out, "{line}")?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Returns when the reader of a pipe is gone, even while nothing is written; never where that cannot be seen.
async fn stdout_closed() {
    let (tell, told) = oneshot::channel();
    let watch = move || {
        if wait_until_closed().is_ok_and(|closed| closed) {
            let _left = tell.send(());
        }
    };
    // Nothing interrupts this thread; it ends with the process.
    let watched = thread::Builder::new().name("watch".to_owned()).spawn(watch);
    if watched.is_err() || told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn wait_until_closed() -> nix::Result<bool> {
    let out = stdout();
    let mut watched = [PollFd::new(out.as_fd(), PollFlags::empty())];
    poll(&mut watched, PollTimeout::NONE)?;
    Ok(watched[0]
        .revents()
        .is_some_and(|seen| seen.intersects(PollFlags::POLLERR | PollFlags::POLLHUP)))
}
