//! Stored messages: by ID, and page by page in the order of persistence.

mod batch;
mod row;
mod sequence;

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mayfly_core::{Channel, MessageId, Order, Timestamp, Username, limits};
use uuid::Uuid;

pub use batch::{Expiry, MessageBatch, NewMessageRow, StoreOutcome};

use self::row::MessageRow;
use crate::store::{ColdError, ColdStore, dead_letters, messages, to_pg};

/// The handle for messages.
#[derive(Clone, Copy)]
pub struct Messages<'a> {
    store: &'a ColdStore,
}

impl ColdStore {
    /// Returns the handle for messages.
    #[must_use]
    pub fn messages(&self) -> Messages<'_> {
        Messages { store: self }
    }
}

/// A stored message.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// The ID.
    pub id: MessageId,
    /// The sequence number, in the order of persistence.
    pub seq: i64,
    /// The expiry time.
    pub expires_at: Timestamp,
    /// The owner of the inbox that held the message.
    pub username: Option<String>,
    /// The message as clients see it: one line of JSON.
    pub json: Vec<u8>,
}

/// The parameters of a page.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// The maximum number of items.
    pub limit: u32,
    /// The sort order.
    pub order: Order,
    /// The sequence number after which the page starts, in sort order.
    pub after: Option<i64>,
    /// Restricts the page to a channel.
    pub channel: Option<Channel>,
    /// Restricts the page to a username.
    pub username: Option<Username>,
}

/// A page of messages.
#[derive(Debug, Clone)]
pub struct Page {
    /// The messages, in the requested order.
    pub items: Vec<StoredMessage>,
    /// Whether more messages follow.
    pub has_more: bool,
}

/// A page of up to this number of items never exceeds [`limits::PAGE_BYTES_MAX`].
const ALWAYS_FITTING_ITEMS: u32 = {
    let largest = limits::MESSAGE_BYTES_MAX * 2;
    #[expect(clippy::cast_possible_truncation, reason = "the constants yield 32")]
    let items = (limits::PAGE_BYTES_MAX / largest) as u32;
    items
};

impl Messages<'_> {
    /// Finds a message by ID.
    pub async fn find(self, id: MessageId) -> Result<Option<StoredMessage>, ColdError> {
        self.store
            .call(async |connection| {
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

    /// Finds messages by ID, in no particular order.
    pub async fn find_many(self, ids: &[MessageId]) -> Result<Vec<StoredMessage>, ColdError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        self.store
            .call(async |connection| {
                messages::table
                    .filter(messages::id.eq_any(ids))
                    .select(MessageRow::as_select())
                    .load(connection)
                    .await
            })
            .await
            .map(|rows| rows.into_iter().map(StoredMessage::from).collect())
    }

    /// Lists the messages between two IDs that are unexpired at `now`, in the order of their IDs.
    pub async fn list_live(
        self,
        after: MessageId,
        before: MessageId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, ColdError> {
        self.store
            .call(async |connection| {
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

    /// Lists one page of all messages ever stored. The cost does not depend on the number of
    /// messages.
    pub async fn list_page(self, request: &PageRequest) -> Result<Page, ColdError> {
        self.store.call(async |connection| list_page(connection, request).await).await
    }

    /// Counts those of the messages that are processed: stored, or dead-lettered.
    pub async fn count_processed(self, ids: &[MessageId]) -> Result<u64, ColdError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        self.store
            .call(async |connection| {
                let stored: i64 = messages::table
                    .filter(messages::id.eq_any(&ids))
                    .count()
                    .get_result(connection)
                    .await?;
                let dead_lettered: i64 = dead_letters::table
                    .filter(dead_letters::message_id.eq_any(&ids))
                    .count()
                    .get_result(connection)
                    .await?;
                Ok(u64::try_from(stored + dead_lettered).unwrap_or(0))
            })
            .await
    }
}

async fn list_page(connection: &mut AsyncPgConnection, request: &PageRequest) -> QueryResult<Page> {
    let limit = if request.limit <= ALWAYS_FITTING_ITEMS {
        request.limit
    } else {
        let sizes: Vec<i32> = page_query(request, request.limit)
            .select(messages::body_bytes)
            .load(connection)
            .await?;
        count_fitting(&sizes)
    };
    let mut rows: Vec<MessageRow> =
        page_query(request, limit + 1).select(MessageRow::as_select()).load(connection).await?;
    let limit = limit as usize;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Page { items: rows.into_iter().map(StoredMessage::from).collect(), has_more })
}

/// Returns how many rows of the given sizes fit into a response; at least one.
fn count_fitting(sizes: &[i32]) -> u32 {
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
    fn page_is_limited_in_bytes_but_never_empty() {
        let half = i32::try_from(limits::PAGE_BYTES_MAX / 2).expect("it fits");
        assert_eq!(count_fitting(&[half, half, 1]), 2);
        assert_eq!(count_fitting(&[half + half + 1, 1]), 1);
        assert_eq!(count_fitting(&[]), 1);
    }
}
