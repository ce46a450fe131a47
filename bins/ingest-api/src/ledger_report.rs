//! The registration of this process in the ledger, and its reports about ended epochs.

use std::time::Duration;

use mayfly_hot::HotStore;
use mayfly_runtime::run_periodically;
use tokio::task::JoinHandle;
use uuid::Uuid;

const INTERVAL: Duration = Duration::from_secs(1);

/// Registers this process periodically. After Redis lost its data, the number of accepted items is
/// known only to the processes that accepted them.
pub struct LedgerReport {
    hot: HotStore,
    writer: String,
    task: JoinHandle<()>,
}

impl LedgerReport {
    /// Starts reporting, under a name that no other process has.
    pub fn start(hot: HotStore) -> Self {
        let writer = Uuid::now_v7().simple().to_string();
        let (store, name) = (hot.clone(), writer.clone());
        let task =
            tokio::spawn(run_periodically(INTERVAL, "report to the ledger", async move || {
                store.ledger().report_writer(&name).await
            }));
        Self { hot, writer, task }
    }

    /// Removes the registration, when this process accepts nothing anymore.
    pub async fn stop(self) {
        self.task.abort();
        // If this fails, the registration expires.
        drop(self.hot.ledger().remove_writer(&self.writer).await);
    }
}
