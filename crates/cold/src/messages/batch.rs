//! Stores batches of messages, one statement per batch. Each message is stored exactly once even if
//! it is redelivered, and a take or a deletion may arrive before its message.

use std::time::Duration;

use diesel::{
    QueryResult, QueryableByName,
    data_types::PgTimestamp,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mayfly_core::{MessageId, Timestamp, message::MessageView};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Messages;
use crate::{
    outcome::EntryOutcome,
    store::{ColdError, to_pg},
};

/// A message to store.
#[derive(Debug)]
pub struct NewMessageRow<'a> {
    /// The message.
    pub message: MessageView<'a>,
    /// The size of the message as JSON, in bytes.
    pub body_bytes: usize,
}

/// The early expiry of a message, caused by a take or a deletion.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    /// The ID of the message.
    pub id: MessageId,
    /// The time of the take or deletion.
    pub at: Timestamp,
}

/// The entries of one epoch that are stored in one transaction.
#[derive(Debug, Default)]
pub struct MessageBatch<'a> {
    /// The epoch in which the entries were accepted. The ledger counts stored messages per epoch. A
    /// new epoch begins after Redis has lost data.
    pub epoch: &'a str,
    /// The messages to store. Postgres assigns sequence numbers in this order.
    pub messages: Vec<NewMessageRow<'a>>,
    /// The takes and deletions to apply.
    pub expiries: Vec<Expiry>,
}

/// The outcome of a batch.
#[derive(Debug, Clone, Default)]
pub struct StoreOutcome {
    /// The number of new messages. The other messages were already stored.
    pub inserted: u64,
    /// The IDs of the messages with a settled expiry: the expiry was applied to the row, or the
    /// message is a dead letter.
    pub expired: Vec<MessageId>,
}

#[derive(QueryableByName)]
struct StoredRow {
    #[diesel(sql_type = BigInt)]
    stored: i64,
    #[diesel(sql_type = Array<SqlUuid>)]
    settled: Vec<Uuid>,
}

#[derive(QueryableByName)]
struct EntryOutcomeRow {
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
    ///
    /// Complexity: O(b log m) for b messages and expiries in the batch and m stored messages.
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

    /// Stores a batch of one entry. If Postgres rejects the entry, returns
    /// [`EntryOutcome::Rejected`], not an error.
    ///
    /// Complexity: O(b log m), as for [`store_batch`](Self::store_batch).
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

/// Binds the columns of a batch in the parameter order of both SQL functions.
macro_rules! bind_batch {
    ($statement:expr, $batch:expr) => {{
        let rows = &$batch.messages;
        let expiries = &$batch.expiries;
        diesel::sql_query($statement)
            .bind::<Text, _>($batch.epoch)
            .bind::<Array<SqlUuid>, _>(column(rows, |row| row.message.id.as_uuid()))
            .bind::<Array<Text>, _>(column(rows, |row| &*row.message.channel))
            .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.message.username.as_deref()))
            .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.message.text.as_deref()))
            .bind::<Array<Nullable<Text>>, _>(column(rows, |row| {
                row.message.data.map(RawValue::get)
            }))
            .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.message.city.as_deref()))
            .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.message.state.as_deref()))
            .bind::<Array<Timestamptz>, _>(column(rows, |row| to_pg(row.message.created_at)))
            .bind::<Array<Timestamptz>, _>(column(rows, |row| to_pg(row.message.expires_at)))
            .bind::<Array<Integer>, _>(column(rows, |row| {
                i32::try_from(row.body_bytes).unwrap_or(i32::MAX)
            }))
            .bind::<Array<SqlUuid>, _>(
                expiries.iter().map(|expiry| expiry.id.as_uuid()).collect::<Vec<Uuid>>(),
            )
            .bind::<Array<Timestamptz>, _>(
                expiries.iter().map(|expiry| to_pg(expiry.at)).collect::<Vec<PgTimestamp>>(),
            )
    }};
}

async fn store(
    connection: &mut AsyncPgConnection,
    batch: &MessageBatch<'_>,
) -> QueryResult<StoredRow> {
    const STORE: &str = "SELECT stored, settled \
         FROM store_messages_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    bind_batch!(STORE, batch).get_result(connection).await
}

/// Stores a batch of one entry. If Postgres rejects the entry, the row contains the reason.
async fn try_store(
    connection: &mut AsyncPgConnection,
    batch: &MessageBatch<'_>,
) -> QueryResult<EntryOutcomeRow> {
    const TRY_STORE: &str = "SELECT stored, settled, refusal \
         FROM try_store_messages_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    bind_batch!(TRY_STORE, batch).get_result(connection).await
}

/// Returns one column of a batch.
fn column<'a, T>(
    rows: &'a [NewMessageRow<'a>],
    get: impl Fn(&'a NewMessageRow<'a>) -> T,
) -> Vec<T> {
    rows.iter().map(get).collect()
}
