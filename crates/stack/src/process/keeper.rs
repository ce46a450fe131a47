//! Keeps one process as it is wanted: up, and up again when it dies, or down.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::board::Board;
use crate::instance::Instance;
use crate::process::restarts::Restarts;
use crate::process::{Launch, LogMark, open_log, wait_until_left, write_pid};

/// How soon a process is asked again whether it is ready: at first, and in the long run.
const PROBE_AFTER: Duration = Duration::from_millis(20);
const PROBE_AFTER_MAX: Duration = Duration::from_millis(500);

/// What is wanted of a process.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// Counts the wishes, so that one can wait for its own.
    count: u64,
    /// What it should run as; `None`: not at all.
    launch: Option<Arc<Launch>>,
    /// Whether it may finish what it does before it ends.
    at_once: bool,
}

/// How a process is.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The wish that was last acted upon.
    count: u64,
    /// Its process id while it runs.
    pub(crate) pid: Option<u32>,
    /// Whether this process was ever ready.
    pub(crate) was_ready: bool,
    /// Whether it died so often that its next start has to wait.
    pub(crate) paused: bool,
    /// How the last one ended, if it did by itself.
    pub(crate) died: Option<String>,
    /// Where in the log this process begins.
    pub(crate) log: Option<LogMark>,
}

/// Keeps one process as it is wanted. Dropping the keeper ends the process at once.
#[derive(Debug)]
pub(crate) struct Keeper {
    wanted: watch::Sender<Wanted>,
    state: watch::Receiver<State>,
    /// What it runs as, or would when started again.
    launch: std::sync::Mutex<Option<Arc<Launch>>>,
}

impl Keeper {
    /// Makes the keeper of a process that is not wanted yet. It works on the thread of the present runtime.
    pub(crate) fn new(instance: Instance, board: Arc<Board>) -> Self {
        let (wanted, wishes) = watch::channel(Wanted::default());
        let (says, state) = watch::channel(State::default());
        tokio::spawn(Life { instance, board, wishes, says, restarts: Restarts::default() }.keep());
        Self { wanted, state, launch: std::sync::Mutex::default() }
    }

    /// Wants the process up as `launch`; one that runs so already is left alone.
    pub(crate) fn want(&self, launch: Arc<Launch>) {
        *self.last_launch() = Some(launch.clone());
        self.wish(Some(launch), false);
    }

    /// Wants it up as it last was.
    pub(crate) fn start(&self) {
        let launch = self.last_launch().clone();
        self.wish(launch, false);
    }

    /// Wants it down, and returns when it is.
    pub(crate) async fn stop(&self, at_once: bool) {
        let count = self.wish(None, at_once);
        let mut state = self.state.clone();
        let _ended = state.wait_for(|state| state.count >= count && state.pid.is_none()).await;
    }

    /// How the process is now.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Whether the last wish has been acted upon.
    pub(crate) fn is_settled(&self) -> bool {
        self.state.borrow().count == self.wanted.borrow().count
    }

    /// What it is wanted to run as; `None` when it should not.
    pub(crate) fn wanted(&self) -> Option<Arc<Launch>> {
        self.wanted.borrow().launch.clone()
    }

    /// What it runs as, or would when started again.
    pub(crate) fn known(&self) -> Option<Arc<Launch>> {
        self.last_launch().clone()
    }

    fn last_launch(&self) -> std::sync::MutexGuard<'_, Option<Arc<Launch>>> {
        self.launch.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wish(&self, launch: Option<Arc<Launch>>, at_once: bool) -> u64 {
        let mut count = 0;
        self.wanted.send_modify(|wanted| {
            *wanted = Wanted { count: wanted.count + 1, launch, at_once };
            count = wanted.count;
        });
        count
    }
}

/// The other side of a [`Keeper`]: the task that has the process.
struct Life {
    instance: Instance,
    board: Arc<Board>,
    wishes: watch::Receiver<Wanted>,
    says: watch::Sender<State>,
    restarts: Restarts,
}

/// Why a process is not watched any longer.
enum Turn {
    /// It ended by itself, with these words.
    Died(String),
    /// Something else is wanted.
    Wish,
}

impl Life {
    async fn keep(mut self) {
        loop {
            let wanted = self.wishes.borrow_and_update().clone();
            match wanted.launch {
                Some(launch) => self.run(wanted.count, &launch).await,
                None => self.rest(wanted.count).await,
            }
            if self.wishes.has_changed().is_err() {
                return;
            }
        }
    }

    /// Is down until something else is wanted.
    async fn rest(&mut self, count: u64) {
        self.restarts = Restarts::default();
        self.board.set_pid(self.instance, None);
        self.says.send_replace(State { count, ..State::default() });
        let _closed = self.wishes.changed().await;
    }

    /// Has one process, from its start to its end.
    async fn run(&mut self, count: u64, launch: &Arc<Launch>) {
        self.says.send_modify(|state| state.count = count);
        if let Some(pause) = self.restarts.pause(Instant::now())
            && self.wait_out(pause).await
        {
            return;
        }
        self.restarts.note_start(Instant::now());
        let turn = match self.spawn(count, launch).await {
            Ok(mut child) => self.watch(&mut child, launch).await,
            Err(error) => {
                Turn::Died(format!("{} cannot be started: {error}", launch.program.display()))
            }
        };
        if let Turn::Died(how) = turn {
            tracing::warn!(name = %self.instance, how, "ended by itself; starting it again");
            self.says.send_modify(|state| {
                state.pid = None;
                state.died = Some(how);
            });
        }
    }

    /// Waits before the next start. Returns whether something else is wanted meanwhile.
    async fn wait_out(&mut self, pause: Duration) -> bool {
        self.board.set_pid(self.instance, None);
        self.says.send_modify(|state| state.paused = true);
        let wished = tokio::select! {
            () = sleep(pause) => false,
            _ = self.wishes.changed() => true,
        };
        self.says.send_modify(|state| state.paused = false);
        wished
    }

    async fn spawn(&self, count: u64, launch: &Launch) -> io::Result<Child> {
        if let Some(dir) = &launch.alone_in {
            wait_until_left(dir).await;
        }
        let log_file = open_log(&launch.log)?;
        let log = LogMark::at_end(&launch.log);
        let child = launch.spawn(&log_file)?;
        write_pid(&launch.pid_file, child.id().unwrap_or_default(), &launch.mark)?;
        self.board.set_pid(self.instance, child.id());
        let died = self.says.borrow().died.clone();
        self.says.send_replace(State {
            count,
            pid: child.id(),
            died,
            log: Some(log),
            ..State::default()
        });
        Ok(child)
    }

    /// Watches a running process until it dies, or until something else is wanted and it has been ended for it.
    async fn watch(&mut self, child: &mut Child, launch: &Arc<Launch>) -> Turn {
        loop {
            let was_ready = self.says.borrow().was_ready;
            tokio::select! {
                status = child.wait() => {
                    let _absent = std::fs::remove_file(&launch.pid_file);
                    return Turn::Died(describe(status));
                }
                wish = self.wishes.changed() => {
                    if wish.is_ok() && self.is_still_wanted(launch) {
                        continue;
                    }
                    self.end(child, launch).await;
                    return Turn::Wish;
                }
                () = until_ready(launch), if !was_ready => {
                    self.restarts.note_ready();
                    self.says.send_modify(|state| { state.was_ready = true; state.died = None; });
                }
            }
        }
    }

    /// Says whether what runs is what is wanted now, and takes note of the wish if so.
    fn is_still_wanted(&mut self, launch: &Arc<Launch>) -> bool {
        let wanted = self.wishes.borrow_and_update();
        let same = wanted.launch.as_ref() == Some(launch);
        if same {
            let count = wanted.count;
            self.says.send_modify(|state| state.count = count);
        }
        same
    }

    /// Ends the process in the way that is wanted, which may change to a quicker one while it ends. A keeper that is
    /// dropped (its channel closes) is in a hurry too.
    async fn end(&mut self, child: &mut Child, launch: &Launch) {
        let mut wishes = self.wishes.clone();
        let hurried = async { drop(wishes.wait_for(|wanted| wanted.at_once).await.map(|_| ())) };
        let ended = tokio::select! {
            biased;
            () = hurried => false,
            _ = launch.ending.end(child) => true,
        };
        if !ended {
            launch.ending.end_now(child).await;
        }
        let _absent = std::fs::remove_file(&launch.pid_file);
        self.board.set_pid(self.instance, None);
        self.says.send_modify(|state| state.pid = None);
    }
}

async fn until_ready(launch: &Launch) {
    let mut pause = PROBE_AFTER;
    while !launch.probe.ask().await.is_ok_and(|readiness| readiness.is_ready()) {
        sleep(pause).await;
        pause = (pause * 5 / 4).min(PROBE_AFTER_MAX);
    }
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}
