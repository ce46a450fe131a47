//! Messages that are stored: by id, and page by page in the order of persistence.

use std::borrow::Cow;

use diesel::{
    data_types::PgTimestamp, deserialize::FromSql, pg::PgValue, prelude::*, sql_types::Json,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mayfly_core::{Channel, MessageId, Order, Timestamp, Username, limits, message::MessageView};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{Cold, error::ColdError, schema::messages};

/// A message as Postgres has it.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// Its place in the order of persistence.
    pub seq: i64,
    /// When it stops, or stopped, to live.
    pub expires_at: Timestamp,
    /// Whose inbox it lay in.
    pub username: Option<String>,
    /// The message as clients see it, one line of JSON.
    pub json: Vec<u8>,
}

/// Which page of the walk is wanted.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// At most this many items.
    pub limit: u32,
    /// Ascending or newest first.
    pub order: Order,
    /// Behind which row, in the direction of the order.
    pub after: Option<i64>,
    /// Only of this channel.
    pub channel: Option<Channel>,
    /// Only of this username.
    pub username: Option<Username>,
}

/// One page of the walk.
#[derive(Debug, Clone)]
pub struct Page {
    /// The rows, in the order that was asked for.
    pub items: Vec<StoredMessage>,
    /// Whether more rows follow now.
    pub has_more: bool,
}

/// The text of a `json` column, untouched.
#[derive(Debug, diesel::deserialize::FromSqlRow)]
struct RawJson(String);

impl FromSql<Json, diesel::pg::Pg> for RawJson {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self(std::str::from_utf8(value.as_bytes())?.to_owned()))
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = messages, check_for_backend(diesel::pg::Pg))]
struct MessageRow {
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
        // Postgres checked the text when it was stored: it is JSON.
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

/// Milliseconds from the Unix epoch to 2000-01-01, from which Postgres counts.
const POSTGRES_EPOCH_MILLIS: i64 = 946_684_800_000;

pub(crate) fn from_pg(at: PgTimestamp) -> Timestamp {
    Timestamp::from_millis(at.0.div_euclid(1_000) + POSTGRES_EPOCH_MILLIS)
}

pub(crate) fn to_pg(at: Timestamp) -> PgTimestamp {
    PgTimestamp((at.as_millis() - POSTGRES_EPOCH_MILLIS).saturating_mul(1_000))
}

/// Pages up to this many items cannot exceed [`limits::PAGE_BYTES_MAX`], whatever is in them.
const ITEMS_ALWAYS_FIT: u32 = {
    let longest = limits::MESSAGE_BYTES_MAX * 2;
    #[expect(clippy::cast_possible_truncation, reason = "32, by the two constants")]
    let items = (limits::PAGE_BYTES_MAX / longest) as u32;
    items
};

impl Cold {
    /// Finds a message by id.
    pub async fn find_message(&self, id: MessageId) -> Result<Option<StoredMessage>, ColdError> {
        self.call(async |connection| {
            messages::table
                .find(id.as_uuid())
                .select(MessageRow::as_select())
                .first(connection)
                .await
                .optional()
        })
        .await
        .map(|row| row.map(StoredMessage::from))
    }

    /// Finds messages by their ids, in no order.
    pub async fn find_messages(&self, ids: &[MessageId]) -> Result<Vec<StoredMessage>, ColdError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        self.call(async |connection| {
            messages::table
                .filter(messages::id.eq_any(ids))
                .select(MessageRow::as_select())
                .load(connection)
                .await
        })
        .await
        .map(|rows| rows.into_iter().map(StoredMessage::from).collect())
    }

    /// Lists messages that live longer than `now`, by id: those after one id and before another.
    pub async fn list_live_messages(
        &self,
        after: MessageId,
        before: MessageId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, ColdError> {
        self.call(async |connection| {
            messages::table
                .filter(messages::id.gt(after.as_uuid()))
                .filter(messages::id.lt(before.as_uuid()))
                .filter(messages::expires_at.gt(to_pg(now)))
                .order(messages::id.asc())
                .limit(i64::from(limit))
                .select(MessageRow::as_select())
                .load(connection)
                .await
        })
        .await
        .map(|rows| rows.into_iter().map(StoredMessage::from).collect())
    }

    /// Lists one page of everything that was ever stored, at a cost that depends on the page alone.
    pub async fn list_messages(&self, request: &PageRequest) -> Result<Page, ColdError> {
        self.call(async |connection| list_page(connection, request).await).await
    }
}

async fn list_page(connection: &mut AsyncPgConnection, request: &PageRequest) -> QueryResult<Page> {
    let limit = if request.limit <= ITEMS_ALWAYS_FIT {
        request.limit
    } else {
        let sizes: Vec<i32> = page_query(request, request.limit)
            .select(messages::body_bytes)
            .load(connection)
            .await?;
        items_that_fit(&sizes)
    };
    let mut rows: Vec<MessageRow> =
        page_query(request, limit + 1).select(MessageRow::as_select()).load(connection).await?;
    let limit = limit as usize;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Page { items: rows.into_iter().map(StoredMessage::from).collect(), has_more })
}

/// How many of the rows of these sizes go into one answer; at least one.
fn items_that_fit(sizes: &[i32]) -> u32 {
    let mut bytes = 0_usize;
    let fitting = sizes
        .iter()
        .take_while(|size| {
            bytes = bytes.saturating_add(usize::try_from(**size).unwrap_or(0));
            bytes <= limits::PAGE_BYTES_MAX
        })
        .count();
    u32::try_from(fitting).unwrap_or(u32::MAX).max(1)
}

fn page_query(request: &PageRequest, limit: u32) -> messages::BoxedQuery<'_, diesel::pg::Pg> {
    let mut query = messages::table.into_boxed().limit(i64::from(limit));
    query = match (request.order, request.after) {
        (Order::Asc, Some(after)) => query.filter(messages::seq.gt(after)),
        (Order::Desc, Some(after)) => query.filter(messages::seq.lt(after)),
        (_, None) => query,
    };
    if let Some(channel) = &request.channel {
        query = query.filter(messages::channel.eq(channel.as_str()));
    }
    if let Some(username) = &request.username {
        query = query.filter(messages::username.eq(username.as_str()));
    }
    match request.order {
        Order::Asc => query.order(messages::seq.asc()),
        Order::Desc => query.order(messages::seq.desc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_before_it_exceeds_its_bytes_but_never_empty() {
        let half = i32::try_from(limits::PAGE_BYTES_MAX / 2).expect("it fits");
        assert_eq!(items_that_fit(&[half, half, 1]), 2);
        assert_eq!(items_that_fit(&[half + half + 1, 1]), 1);
        assert_eq!(items_that_fit(&[]), 1);
    }

    #[test]
    fn an_instant_survives_the_way_through_postgres() {
        for millis in [0, 946_684_799_999, 1_795_201_620_123] {
            let at = Timestamp::from_millis(millis);
            assert_eq!(from_pg(to_pg(at)), at);
        }
    }
}
