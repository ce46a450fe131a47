//! Sequence numbers in the order of persistence, for tools that verify pagination.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use mayfly_core::MessageId;
use uuid::Uuid;

use super::Messages;
use crate::store::{ColdError, messages};

impl Messages<'_> {
    /// Returns the sequence number of each message, or `None` for a message that is not stored.
    ///
    /// Complexity: O(i log m) for i IDs and m messages.
    pub async fn find_seqs(self, ids: &[MessageId]) -> Result<Vec<Option<i64>>, ColdError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let rows: Vec<(Uuid, i64)> = self
            .store
            .call(async |connection| {
                messages::table
                    .filter(messages::id.eq_any(&ids))
                    .select((messages::id, messages::seq))
                    .load(connection)
                    .await
            })
            .await?;
        let seqs: HashMap<Uuid, i64> = rows.into_iter().collect();
        Ok(ids.iter().map(|id| seqs.get(id).copied()).collect())
    }

    /// Returns the highest sequence number, or `None` if no message is stored.
    ///
    /// Complexity: O(log m) for m messages.
    pub async fn find_max_seq(self) -> Result<Option<i64>, ColdError> {
        self.store
            .call(async |connection| {
                messages::table
                    .select(messages::seq)
                    .order(messages::seq.desc())
                    .first(connection)
                    .await
                    .optional()
            })
            .await
    }

    /// Counts the messages with a sequence number from `first` to `last`.
    ///
    /// Complexity: O(log m + c) for m messages and c counted messages.
    pub async fn count_seqs(self, first: i64, last: i64) -> Result<u64, ColdError> {
        let count: i64 = self
            .store
            .call(async |connection| {
                messages::table
                    .filter(messages::seq.between(first, last))
                    .count()
                    .get_result(connection)
                    .await
            })
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}
