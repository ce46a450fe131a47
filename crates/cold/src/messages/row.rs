//! The columns of a message: as read, and as written.

use std::borrow::Cow;

use diesel::{
    data_types::PgTimestamp,
    deserialize::FromSql,
    pg::PgValue,
    prelude::*,
    sql_types::{Array, Integer, Json, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mayfly_core::message::MessageView;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    StoredMessage,
    batch::{EntryOutcomeRow, MessageBatch, NewMessageRow, StoredRow},
};
use crate::store::{from_pg, messages, to_pg};

/// The verbatim text of a `json` column.
#[derive(Debug, diesel::deserialize::FromSqlRow)]
pub(super) struct RawJson(String);

impl FromSql<Json, diesel::pg::Pg> for RawJson {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self(std::str::from_utf8(value.as_bytes())?.to_owned()))
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = messages, check_for_backend(diesel::pg::Pg))]
pub(super) struct MessageRow {
    id: Uuid,
    seq: i64,
    channel: String,
    username: Option<String>,
    text: Option<String>,
    data: Option<RawJson>,
    city: Option<String>,
    state: Option<String>,
    created_at: PgTimestamp,
    expires_at: PgTimestamp,
}

impl From<MessageRow> for StoredMessage {
    fn from(row: MessageRow) -> Self {
        let expires_at = from_pg(row.expires_at);
        // Postgres validated the JSON when it was stored.
        let data =
            row.data.as_ref().and_then(|data| serde_json::from_str::<&RawValue>(&data.0).ok());
        let view = MessageView {
            id: row.id.into(),
            channel: Cow::Owned(row.channel),
            username: row.username,
            text: row.text,
            city: row.city,
            state: row.state,
            data,
            created_at: from_pg(row.created_at),
            expires_at,
        };
        Self {
            id: view.id,
            seq: row.seq,
            expires_at,
            json: view.to_json(),
            username: view.username,
        }
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
pub(super) async fn store(
    connection: &mut AsyncPgConnection,
    batch: &MessageBatch<'_>,
) -> QueryResult<StoredRow> {
    const STORE: &str = "SELECT stored, settled \
         FROM store_messages_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    bind_batch!(STORE, batch).get_result(connection).await
}

/// Stores a batch of one entry, or returns why its data is rejected.
pub(super) async fn try_store(
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
