//! Lists the live messages, so that they can be restored in Redis.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use mayfly_core::{MessageId, Timestamp};
use uuid::Uuid;

use super::{Messages, StoredMessage, row::MessageRow};
use crate::store::{ColdError, messages, to_pg};

/// The maximum number of messages, live or expired, that one call examines.
const EXAMINED_MAX: i64 = 20_000;

/// Examines messages until the page is full or [`EXAMINED_MAX`] messages have been examined.
const LIST: &str = "SELECT id, seq, channel, username, text, data, city, state, created_at, \
         expires_at \
     FROM (SELECT * FROM messages WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3) AS examined \
     WHERE expires_at > $4 ORDER BY id LIMIT $5";

/// A page of live messages, in the order of their IDs.
#[derive(Debug, Clone)]
pub struct LivePage {
    /// The live messages.
    pub messages: Vec<StoredMessage>,
    /// The last examined ID, after which the next page starts. `None` only if no messages follow.
    pub up_to: Option<MessageId>,
}

impl Messages<'_> {
    /// Lists the messages that are live at `now` and have IDs greater than `after` and less than
    /// `before`, in the order of their IDs. Examines a limited number of messages, so a page can be
    /// empty even if more live messages follow.
    ///
    /// Complexity: O(log m + e) for m messages and e examined messages, at most 20,000.
    pub async fn list_live(
        self,
        after: MessageId,
        before: MessageId,
        now: Timestamp,
        limit: u32,
    ) -> Result<LivePage, ColdError> {
        let (after, before) = (after.as_uuid(), before.as_uuid());
        self.store
            .call(async |connection| {
                let rows: Vec<MessageRow> = diesel::sql_query(LIST)
                    .bind::<SqlUuid, _>(after)
                    .bind::<SqlUuid, _>(before)
                    .bind::<BigInt, _>(EXAMINED_MAX)
                    .bind::<Timestamptz, _>(to_pg(now))
                    .bind::<BigInt, _>(i64::from(limit))
                    .get_results(connection)
                    .await?;
                let messages: Vec<_> = rows.into_iter().map(StoredMessage::from).collect();
                if let Some(last) = messages.last().filter(|_| messages.len() == limit as usize) {
                    return Ok(LivePage { up_to: Some(last.id), messages });
                }
                let last_examined: Option<Uuid> = messages::table
                    .filter(messages::id.gt(after))
                    .filter(messages::id.lt(before))
                    .order(messages::id.asc())
                    .select(messages::id)
                    .offset(EXAMINED_MAX - 1)
                    .first(connection)
                    .await
                    .optional()?;
                Ok(LivePage { messages, up_to: last_examined.map(MessageId::from) })
            })
            .await
    }
}
