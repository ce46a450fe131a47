//! Reads pages of stream entries and of pending entries.

use deadpool_redis::redis::{self, FromRedisValue};

use crate::{
    connection::HotError,
    queue::{Queue, Stream},
};

/// The maximum number of pending entries that one round trip reads.
pub(super) const PAGE_ENTRIES: usize = 1_000;

impl Queue<'_> {
    /// Reads at most `count` entries of a stream, with the fields of each entry as `F`. `from` and
    /// `to` use the syntax of `XRANGE`: an entry ID, `(` and an ID for an exclusive bound, or `-`
    /// and `+` for the ends of the stream.
    pub(super) async fn read_range<F: FromRedisValue>(
        self,
        stream: Stream,
        from: &str,
        to: &str,
        count: usize,
    ) -> Result<Vec<(String, F)>, HotError> {
        self.store
            .call(async |connection| {
                redis::cmd("XRANGE")
                    .arg(self.store.keys.stream(stream))
                    .arg(from)
                    .arg(to)
                    .arg("COUNT")
                    .arg(count)
                    .query_async(connection)
                    .await
            })
            .await
    }

    /// Returns the IDs of at most `count` pending entries, starting at `from`, which has the same
    /// syntax as in [`read_range`](Self::read_range).
    pub(super) async fn read_pending(
        self,
        stream: Stream,
        from: &str,
        count: usize,
    ) -> Result<Vec<String>, HotError> {
        let rows: Vec<(String, String, u64, u64)> = self
            .store
            .call(async |connection| {
                redis::cmd("XPENDING")
                    .arg(self.store.keys.stream(stream))
                    .arg(stream.group())
                    .arg(from)
                    .arg("+")
                    .arg(count)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(rows.into_iter().map(|(id, ..)| id).collect())
    }
}
