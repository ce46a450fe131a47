//! Registers this process in the ledger, and stores its reports about ended epochs. An epoch ends
//! when Redis loses its data.

use std::time::Duration;

use mayfly_hot::HotStore;
use mayfly_runtime::{exit_on_panic, run_periodically};
use tokio::task::JoinHandle;
use uuid::Uuid;

const INTERVAL: Duration = Duration::from_secs(1);

/// The periodic registration of this process, with its reports. After Redis loses its data, only
/// the processes that wrote items can report how many items were accepted.
pub struct LedgerReport {
    hot: HotStore,
    writer: String,
    task: JoinHandle<()>,
}

impl LedgerReport {
    /// Starts reporting under a name that is unique to this process.
    pub fn start(hot: HotStore) -> Self {
        let writer = Uuid::now_v7().simple().to_string();
        let (store, name) = (hot.clone(), writer.clone());
        let reports = run_periodically(INTERVAL, "report to the ledger", async move || {
            store.ledger().report_writer(&name).await
        });
        let task = tokio::spawn(exit_on_panic("report to the ledger", reports));
        Self { hot, writer, task }
    }

    /// Stops reporting and removes the registration. Call this after the last write.
    pub async fn stop(self) {
        self.task.abort();
        // If this fails, the registration expires on its own.
        drop(self.hot.ledger().remove_writer(&self.writer).await);
    }
}
