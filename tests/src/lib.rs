//! What the end-to-end tests and the benches stand on: the real binaries over a real Redis and a
//! real Postgres, and ways to look at all of them from outside.

mod answer;
mod browser;
mod connection;
mod entrance;
mod fake_chartbeat;
mod freeze;
mod gate;
mod hot_copy;
mod last_words;
pub mod live;
mod load;
mod mode;
mod own_process;
mod plays;
mod tethered;
mod witness;
mod world;

use std::{
    path::Path,
    time::{Duration, Instant},
};

pub use answer::Answer;
pub use browser::{Browser, Tab};
pub use connection::{Connection, Reply};
pub use entrance::Entrance;
pub use fake_chartbeat::{FakeChartbeat, SourceCall, SourceReply};
pub use freeze::{Frozen, send_signal};
pub use gate::Gate;
pub use hot_copy::{id_of, ids_of};
pub use load::{Load, Tally, USERS, user};
pub use mode::{beside_others, is_full, short_or_full};
pub use own_process::OwnProcess;
pub use plays::{Counts, Published, Seen, counts_of};
pub use tethered::Tethered;
pub use witness::{LASTING, Sum};
pub use world::{Setup, World, bin_dir};

/// How long a test waits for what must come and need not be quick; what a contract says of time is not this.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds; fails when the deadline passes, and says what was seen last.
///
/// # Panics
/// When it does not hold in time.
pub async fn eventually<T, E: std::fmt::Debug>(
    within: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    const PAUSE: Duration = Duration::from_millis(20);
    let started = Instant::now();
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(seen) if started.elapsed() > within => {
                panic!("{what}: not within {within:?}; seen last: {seen:?}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Copies a directory with all that is in it.
///
/// # Panics
/// When something cannot be read or written.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory can be made");
    for entry in std::fs::read_dir(from).expect("the directory can be read") {
        let entry = entry.expect("the directory can be read").path();
        let target = to.join(entry.file_name().expect("a file has a name"));
        if entry.is_dir() {
            copy_dir(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).expect("a file can be copied");
        }
    }
}
