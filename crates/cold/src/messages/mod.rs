//! Stores messages, and reads them by ID or page by page in the order of persistence.

mod batch;
mod live;
mod page;
mod readable;
mod row;
mod sequence;

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mayfly_core::{Channel, MessageId, Order, Timestamp, Username, limits};
use uuid::Uuid;

pub use batch::{Expiry, MessageBatch, NewMessageRow, StoreOutcome};
pub use live::LivePage;
pub use readable::{ReadRights, ReadableNames};

use self::{page::PageQuery, row::MessageRow};
use crate::store::{ColdError, ColdStore, ReadKind, dead_letters, messages};

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
    /// The user whose inbox contains the message while it is live, if any.
    pub username: Option<String>,
    /// The message as clients receive it: one line of JSON.
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
    /// The channel of the messages; `None` means any channel.
    pub channel: Option<Channel>,
    /// The username of the messages; `None` means any username or none.
    pub username: Option<Username>,
}

/// A page of messages.
#[derive(Debug, Clone)]
pub struct Page {
    /// The messages, in the requested order.
    pub items: Vec<StoredMessage>,
    /// Whether more messages follow or, if the page ends before its limit, may follow.
    pub has_more: bool,
    /// The sequence number after which the next page starts. `None` only if the list is empty and
    /// the page starts at its beginning.
    pub up_to: Option<i64>,
}

/// The number of items that fit into a page of [`limits::PAGE_BYTES_MAX`] bytes regardless of their
/// size.
const ALWAYS_FITTING_ITEMS: u32 = {
    let largest = limits::MESSAGE_BYTES_MAX * 2;
    #[expect(clippy::cast_possible_truncation, reason = "the constants yield 32")]
    let items = (limits::PAGE_BYTES_MAX / largest) as u32;
    items
};

impl Messages<'_> {
    /// Finds a message by ID.
    ///
    /// Complexity: O(log m) for m messages.
    pub async fn find(self, id: MessageId) -> Result<Option<StoredMessage>, ColdError> {
        self.store
            .read(ReadKind::MessagesById, async |connection| {
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

    /// Finds the channel and the username of a message by ID. The query returns one row whether or
    /// not the message exists, and does not read the rest of the message, so that its duration
    /// reveals neither whether the message exists nor its size.
    ///
    /// Complexity: O(log m) for m messages.
    pub async fn find_names(
        self,
        id: MessageId,
    ) -> Result<Option<(String, Option<String>)>, ColdError> {
        let message = messages::table.find(id.as_uuid());
        let channel = message.select(messages::channel).single_value();
        let username = message.select(messages::username).single_value();
        let (channel, username): (Option<String>, Option<String>) = self
            .store
            .read(ReadKind::MessagesById, async |connection| {
                diesel::select((channel, username)).get_result(connection).await
            })
            .await?;
        Ok(channel.map(|channel| (channel, username)))
    }

    /// Finds messages by ID, in no particular order.
    ///
    /// Complexity: O(i log m) for i IDs and m messages.
    pub async fn find_many(self, ids: &[MessageId]) -> Result<Vec<StoredMessage>, ColdError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        self.store
            .read(ReadKind::MessagesById, async |connection| {
                messages::table
                    .filter(messages::id.eq_any(ids))
                    .select(MessageRow::as_select())
                    .load(connection)
                    .await
            })
            .await
            .map(|rows| rows.into_iter().map(StoredMessage::from).collect())
    }

    /// Lists a page of the stored messages, both live and expired.
    ///
    /// Complexity: O(log m + p) for m messages and p messages in the page, with any filter and
    /// order.
    pub async fn list_page(self, request: &PageRequest) -> Result<Page, ColdError> {
        self.store
            .read(ReadKind::MessageLists, async |connection| list_page(connection, request).await)
            .await
    }

    /// Counts the given messages that are stored or dead-lettered.
    ///
    /// Complexity: O(i log m) for i IDs and m messages and dead letters.
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
        let sizes: Vec<i32> =
            PageQuery::new(request, request.limit, messages::body_bytes).load(connection).await?;
        count_fitting(&sizes)
    };
    let mut rows: Vec<MessageRow> =
        PageQuery::new(request, limit + 1, MessageRow::as_select()).load(connection).await?;
    let limit = limit as usize;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let items: Vec<_> = rows.into_iter().map(StoredMessage::from).collect();
    let up_to = items.last().map(|item| item.seq).or(request.after);
    Ok(Page { items, has_more, up_to })
}

/// Returns the number of rows to put into a page: as many as fit, but at least one. The sizes are
/// in bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_limited_in_bytes_but_never_empty() {
        let half = i32::try_from(limits::PAGE_BYTES_MAX / 2).expect("a size that fits");
        assert_eq!(count_fitting(&[half, half, 1]), 2);
        assert_eq!(count_fitting(&[half + half + 1, 1]), 1);
        assert_eq!(count_fitting(&[]), 1);
    }
}
