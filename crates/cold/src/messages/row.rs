//! Rows of messages, and their conversion to [`StoredMessage`].

use std::borrow::Cow;

use diesel::{
    data_types::PgTimestamp, deserialize::FromSql, pg::PgValue, prelude::*, sql_types::Json,
};
use mayfly_core::message::MessageView;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::StoredMessage;
use crate::store::{from_pg, messages};

/// The verbatim text of a `json` column.
#[derive(Debug, diesel::deserialize::FromSqlRow)]
pub(super) struct RawJson(String);

impl FromSql<Json, diesel::pg::Pg> for RawJson {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self(std::str::from_utf8(value.as_bytes())?.to_owned()))
    }
}

#[derive(Queryable, QueryableByName, Selectable)]
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
        // Postgres validated the JSON when the message was stored, so parsing succeeds.
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
