//! Storing of batches: one statement per batch, exactly once, regardless of the order of delivery.

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
    /// Complexity: O(b log m) for b messages and expiries of the batch and m messages.
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
    ///
    /// Complexity: O(b log m), as for a batch.
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

/// Binds the columns of a batch in the order of the parameters of both functions.
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

/// Stores a batch.
async fn store(
    connection: &mut AsyncPgConnection,
    batch: &MessageBatch<'_>,
) -> QueryResult<StoredRow> {
    const STORE: &str = "SELECT stored, settled \
         FROM store_messages_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    bind_batch!(STORE, batch).get_result(connection).await
}

/// Stores a batch of one entry, or returns why its data is rejected.
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
