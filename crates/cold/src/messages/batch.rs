//! Storing of batches: one statement per batch, exactly once, regardless of the order of delivery.

use std::time::Duration;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid},
};
use mayfly_core::{MessageId, Timestamp, message::MessageView};
use uuid::Uuid;

use super::{
    Messages,
    row::{store, try_store},
};
use crate::{outcome::EntryOutcome, store::ColdError};

/// A message to store.
#[derive(Debug)]
pub struct NewMessageRow<'a> {
    /// The message.
    pub message: MessageView<'a>,
    /// The size of its JSON in bytes.
    pub body_bytes: usize,
}

/// A take or a deletion of one message.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    /// The message.
    pub id: MessageId,
    /// The time of the take or deletion.
    pub at: Timestamp,
}

/// The entries of one epoch that are stored in one transaction.
#[derive(Debug, Default)]
pub struct MessageBatch<'a> {
    /// The epoch, whose ledger row counts the messages.
    pub epoch: &'a str,
    /// New messages, in the order in which lists return them.
    pub messages: Vec<NewMessageRow<'a>>,
    /// Takes and deletions.
    pub expiries: Vec<Expiry>,
}

/// The outcome of a batch.
#[derive(Debug, Clone, Default)]
pub struct StoreOutcome {
    /// The number of new messages; the others were already stored.
    pub inserted: u64,
    /// The messages whose take or deletion was applied.
    pub expired: Vec<MessageId>,
}

#[derive(QueryableByName)]
pub(super) struct StoredRow {
    #[diesel(sql_type = BigInt)]
    stored: i64,
    #[diesel(sql_type = Array<SqlUuid>)]
    settled: Vec<Uuid>,
}

#[derive(QueryableByName)]
pub(super) struct EntryOutcomeRow {
    #[diesel(embed)]
    stored: StoredRow,
    #[diesel(sql_type = Nullable<Text>)]
    refusal: Option<String>,
}

impl From<StoredRow> for StoreOutcome {
    fn from(row: StoredRow) -> Self {
        Self {
            inserted: u64::try_from(row.stored).unwrap_or(0),
            expired: row.settled.into_iter().map(MessageId::from).collect(),
        }
    }
}

impl Messages<'_> {
    /// Stores a batch in one transaction.
    pub async fn store_batch(
        self,
        batch: &MessageBatch<'_>,
        timeout: Duration,
    ) -> Result<StoreOutcome, ColdError> {
        self.store
            .call_within(timeout, async |connection| store(connection, batch).await)
            .await
            .map(StoreOutcome::from)
    }

    /// Stores a batch of one entry. A rejection of that entry is an outcome, not an error.
    pub async fn try_store_batch(
        self,
        batch: &MessageBatch<'_>,
        timeout: Duration,
    ) -> Result<EntryOutcome<StoreOutcome>, ColdError> {
        let row = self
            .store
            .call_within(timeout, async |connection| try_store(connection, batch).await)
            .await?;
        Ok(row.refusal.map_or(EntryOutcome::Stored(row.stored.into()), EntryOutcome::Rejected))
    }
}
