//! Storing: one statement a batch, exactly once, in whatever order things arrive.

use std::time::Duration;

use diesel::{
    QueryableByName,
    data_types::PgTimestamp,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use mayfly_core::{MessageId, Timestamp, message::MessageView};
use uuid::Uuid;

use crate::{Cold, error::ColdError, messages::to_pg};

/// A message on its way into the table.
#[derive(Debug)]
pub struct NewRow<'a> {
    /// What is stored.
    pub message: MessageView<'a>,
    /// Its size as JSON.
    pub body_bytes: usize,
}

/// A take or a deletion of one message.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    /// Which message.
    pub id: MessageId,
    /// When it was taken or deleted.
    pub at: Timestamp,
}

/// What is stored in one transaction: entries of one epoch.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    /// The epoch whose ledger counts the messages.
    pub epoch: &'a str,
    /// New messages, in the order in which they are to be walked through.
    pub messages: Vec<NewRow<'a>>,
    /// Takes and deletions.
    pub expiries: Vec<Expiry>,
}

/// What became of a batch.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// How many messages are new; the others had been stored before.
    pub messages: u64,
    /// The taken or deleted messages whose row now shows it.
    pub settled: Vec<MessageId>,
}

/// What became of an entry that was tried alone.
#[derive(Debug, Clone)]
pub enum Tried<T> {
    /// It is stored.
    Stored(T),
    /// Postgres refuses this very entry, for this reason.
    Refused(String),
}

#[derive(QueryableByName)]
struct StoredRow {
    #[diesel(sql_type = BigInt)]
    stored: i64,
    #[diesel(sql_type = Array<SqlUuid>)]
    settled: Vec<Uuid>,
}

#[derive(QueryableByName)]
struct TriedRow {
    #[diesel(embed)]
    stored: StoredRow,
    #[diesel(sql_type = Nullable<Text>)]
    refusal: Option<String>,
}

impl From<StoredRow> for Stored {
    fn from(row: StoredRow) -> Self {
        Self {
            messages: u64::try_from(row.stored).unwrap_or(0),
            settled: row.settled.into_iter().map(MessageId::from).collect(),
        }
    }
}

const STORE: &str = "SELECT stored, settled \
     FROM store_messages_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
const TRY_STORE: &str = "SELECT stored, settled, refusal \
     FROM try_store_messages_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// Binds the columns of a batch, in the order of the functions' arguments.
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
                row.message.data.map(serde_json::value::RawValue::get)
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

fn column<'a, T>(rows: &'a [NewRow<'a>], of: impl Fn(&'a NewRow<'a>) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

impl Cold {
    /// Stores a batch in one transaction: all of it, or nothing.
    pub async fn store_batch(
        &self,
        batch: &Batch<'_>,
        timeout: Duration,
    ) -> Result<Stored, ColdError> {
        self.call_within(timeout, async |connection| {
            bind_batch!(STORE, batch).get_result::<StoredRow>(connection).await
        })
        .await
        .map(Stored::from)
    }

    /// Stores what is tried alone; a refusal of this very entry is an answer.
    pub async fn try_store_batch(
        &self,
        batch: &Batch<'_>,
        timeout: Duration,
    ) -> Result<Tried<Stored>, ColdError> {
        let row: TriedRow = self
            .call_within(timeout, async |connection| {
                bind_batch!(TRY_STORE, batch).get_result(connection).await
            })
            .await?;
        Ok(row.refusal.map_or(Tried::Stored(row.stored.into()), Tried::Refused))
    }
}
