//! Prints on a separate thread, so that a slow reader of standard output blocks neither the
//! connection nor signals.

use std::io::{self, Write as _, stdout};
use std::os::fd::AsFd as _;
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;

/// The capacity of the buffer, in lines. While the buffer is full, nothing is read from the
/// connection.
const BUFFERED_LINES_MAX: usize = 1_000;

/// A thread that prints lines.
#[derive(Debug)]
pub(super) struct Printer {
    lines: Sender<String>,
    thread: JoinHandle<()>,
}

impl Printer {
    pub(super) fn start() -> io::Result<Self> {
        let (lines, buffered) = mpsc::channel(BUFFERED_LINES_MAX);
        let thread = thread::Builder::new().name("printer".to_owned());
        // If standard output fails, the thread exits and the channel closes.
        let thread = thread.spawn(|| drop(print_all(buffered)))?;
        Ok(Self { lines, thread })
    }

    /// Queues a line for printing. Waits while the buffer is full.
    pub(super) async fn print(&self, line: String) {
        let _closed = self.lines.send(line).await;
    }

    /// Waits until standard output is closed.
    pub(super) async fn closed(&self) {
        tokio::select! {
            () = self.lines.closed() => {}
            () = stdout_closed() => {}
        }
    }

    /// Waits until all queued lines have been printed.
    pub(super) fn finish(self) {
        drop(self.lines);
        let _panicked = self.thread.join();
    }
}

/// Prints lines, and flushes the output whenever no line is buffered.
fn print_all(mut buffered: Receiver<String>) -> io::Result<()> {
    let mut out = io::BufWriter::new(stdout().lock());
    while let Some(line) = buffered.blocking_recv() {
        writeln!(out, "{line}")?;
        while let Ok(line) = buffered.try_recv() {
            writeln!(out, "{line}")?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Waits until the reader of standard output closes it, even if nothing is written. Never returns
/// if the closure cannot be detected.
async fn stdout_closed() {
    let (closed_sender, closed) = oneshot::channel();
    let poll_stdout = move || {
        if wait_until_closed().is_ok_and(|is_closed| is_closed) {
            let _dropped = closed_sender.send(());
        }
    };
    // The thread blocks until standard output is closed or the process exits.
    let thread = thread::Builder::new().name("poll-stdout".to_owned()).spawn(poll_stdout);
    if thread.is_err() || closed.await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn wait_until_closed() -> nix::Result<bool> {
    let out = stdout();
    let mut descriptors = [PollFd::new(out.as_fd(), PollFlags::empty())];
    poll(&mut descriptors, PollTimeout::NONE)?;
    Ok(descriptors[0]
        .revents()
        .is_some_and(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP)))
}
