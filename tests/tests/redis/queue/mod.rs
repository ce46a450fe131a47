//! The queues.

mod ack;
mod consumer;
mod depth;
mod ledger;
mod maintenance;
mod trim;

use std::time::Duration;

use mayfly_hot::{Consumer, ReadBatch, Stream};

use crate::TestStore;

/// The number of entries that one script call appends.
const STEP_ENTRIES: usize = 5_000;
/// The time that a read waits if there is nothing to read.
const NO_WAIT: Duration = Duration::from_millis(1);

impl TestStore {
    fn consumer(&self, stream: Stream, name: &str) -> Consumer {
        Consumer::new(self.hot.clone(), stream, name.to_owned())
    }

    async fn create_group(&self, stream: Stream) {
        self.hot.queue().create_group(stream).await.expect("Redis responds");
    }

    /// Appends an entry with this ID.
    pub(crate) async fn append(&self, stream: Stream, entry_id: &str) {
        self.query::<()>(&["XADD", &self.keys().stream(stream), entry_id, "kind", "x"]).await;
    }

    /// Appends `count` entries with the times 1 ms, 2 ms and so on.
    async fn append_many(&self, stream: Stream, count: u64) {
        let mut pipe = redis::pipe();
        for millis in 1..=count {
            let entry_id = format!("{millis}-0");
            pipe.cmd("XADD").arg(self.keys().stream(stream)).arg(entry_id).arg("kind").arg("x");
            pipe.ignore();
        }
        pipe.query_async::<()>(&mut self.connection.clone()).await.expect("Redis responds");
    }
}

impl TestStore {
    /// Appends `count` entries with the current time.
    async fn append_now(&self, stream: Stream, count: u64) {
        let script =
            "for _ = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', 'kind', 'x') end";
        for part in (0..count).step_by(STEP_ENTRIES) {
            let count = (count - part).min(STEP_ENTRIES as u64).to_string();
            let key = self.keys().stream(stream);
            self.query::<()>(&["EVAL", script, "1", &key, &count]).await;
        }
    }
}

async fn read(consumer: &mut Consumer, count: usize) -> ReadBatch {
    consumer.read_batch(count, NO_WAIT).await.expect("Redis responds")
}

fn entry_ids(batch: &ReadBatch) -> Vec<&str> {
    batch.deliveries.iter().map(|delivery| delivery.entry_id.as_str()).collect()
}
