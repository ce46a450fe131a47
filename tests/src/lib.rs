//! Test support for the end-to-end tests and the benches: runs the real binaries over a real Redis
//! and a real Postgres, and inspects them from outside.

mod browser;
mod credentials;
mod http;
pub mod live;
mod load;
mod metrics;
mod plays;
mod process;
mod run_mode;
mod servers;
mod world;

use std::{
    path::Path,
    time::{Duration, Instant},
};

pub use browser::{Browser, Tab};
pub use credentials::{create_page_key, load_credentials, sign_token};
pub use http::{ApiResponse, RawConnection, RawResponse};
pub use load::{Load, LoadReport, USERS, user};
pub use metrics::exported_metrics;
pub use plays::{Counts, PlaysFrame, PlaysRecorder, parse_counts};
pub use process::{ChildGuard, ExitCommand, Frozen, ServiceProcess, send_signal};
pub use run_mode::{is_full, short_or_full, with_slack};
pub use servers::{
    Certificates, FakeChartbeat, PostgresCluster, PostgresServer, RedisProxy, ReverseProxy,
    SourceCall, SourceReply, TlsRedis,
};
pub use world::{LedgerSums, PERSISTENT_KEYS, Setup, World, bin_dir, message_id, message_ids};

/// How long a test waits for an event that has no contractual deadline.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Polls `check` until it returns `Ok`.
///
/// # Panics
/// If that takes longer than `within`; the message contains the last `Err`.
pub async fn eventually<T, E: std::fmt::Debug>(
    within: Duration,
    description: &str,
    mut check: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    const POLL_INTERVAL: Duration = Duration::from_millis(20);
    let started = Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(last) if started.elapsed() > within => {
                panic!("timed out after {within:?}: {description}; last state: {last:?}")
            }
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

/// Copies a directory recursively.
///
/// # Panics
/// If a file or directory cannot be read or written.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the directory is created");
    for entry in std::fs::read_dir(from).expect("the directory is readable") {
        let entry = entry.expect("the directory is readable").path();
        let target = to.join(entry.file_name().expect("a directory entry has a name"));
        if entry.is_dir() {
            copy_dir(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).expect("the file is copied");
        }
    }
}
