//! Lists the messages that a caller may read, for a caller who may not read every message.
//!
//! If the rights of the caller are exact names, the messages of all names are merged from the
//! indexes, and each page is full. No index finds the names that match a pattern. With patterns,
//! the query therefore reads messages in the order of the list and skips those that the caller may
//! not read. A page ends after a limited number of messages, even if it is empty.
//!
//! Unless a page ends because of this limit, the next page starts after the last message that the
//! caller may read, and not after the last message that was examined. Otherwise, the cursor would
//! reveal when messages that the caller may not read are stored, and an empty list would reveal
//! whether its username has such messages.

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Integer, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mayfly_core::{Order, limits};

use super::{Messages, Page, PageRequest, StoredMessage, page::PageQuery, row::MessageRow};
use crate::store::{ColdError, ReadKind, messages};

/// The maximum number of messages that a page examines, unless `limit` is greater.
const EXAMINED_MAX: usize = 5_000;
/// The factor by which the number of messages in a query increases if the page is not full.
const GROWTH: usize = 4;

/// The rights of a caller who may not read every message.
pub struct ReadRights<'a> {
    /// The exact names that the rights consist of; `None` if the rights contain a pattern.
    pub names: Option<ReadableNames<'a>>,
    /// Returns whether the caller may read a message with this channel and this username.
    pub is_readable: &'a (dyn Fn(&str, Option<&str>) -> bool + Sync),
}

/// Names that are a part of every message that a caller may read: its channel is one of the
/// channels, or its username is one of the usernames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadableNames<'a> {
    /// The channels.
    pub channels: Vec<&'a str>,
    /// The usernames.
    pub usernames: Vec<&'a str>,
}

/// The part of a message that determines whether it belongs on a page.
#[derive(Queryable, QueryableByName)]
struct Candidate {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Text)]
    channel: String,
    #[diesel(sql_type = Nullable<Text>)]
    username: Option<String>,
    #[diesel(sql_type = Integer)]
    body_bytes: i32,
}

/// The messages that have been selected for a page.
struct Selection {
    items_max: usize,
    seqs: Vec<i64>,
    bytes: usize,
}

impl Selection {
    /// Adds a message. Returns false if the page is full.
    fn add(&mut self, candidate: &Candidate) -> bool {
        let bytes = self.bytes.saturating_add(usize::try_from(candidate.body_bytes).unwrap_or(0));
        let is_full = self.seqs.len() >= self.items_max
            || (bytes > limits::PAGE_BYTES_MAX && !self.seqs.is_empty());
        if !is_full {
            self.bytes = bytes;
            self.seqs.push(candidate.seq);
        }
        !is_full
    }
}

/// Selects the first messages after a sequence number that have one of the given channels or
/// usernames. As in [`PageQuery`], the clauses for each name can only be executed with the index on
/// this name. The outer query finds the messages by their sequence numbers, so that it reads only
/// the messages in the result.
macro_rules! find_by_names {
    ($after:literal, $up_to:literal, $direction:literal) => {
        concat!(
            "SELECT seq, channel, username, body_bytes FROM messages WHERE seq = ANY (ARRAY( \
                 SELECT DISTINCT merged.seq FROM ( \
                     SELECT found.seq FROM unnest($1::text[]) AS names (name) CROSS JOIN LATERAL ( \
                         SELECT seq FROM messages WHERE (channel, seq) ",
            $after,
            " (name, $3) AND channel ",
            $up_to,
            " name ORDER BY channel",
            $direction,
            ", seq",
            $direction,
            " LIMIT $4 \
                     ) AS found \
                     UNION ALL \
                     SELECT found.seq FROM unnest($2::text[]) AS names (name) CROSS JOIN LATERAL ( \
                         SELECT seq FROM messages WHERE (username, seq) ",
            $after,
            " (name, $3) AND username ",
            $up_to,
            " name ORDER BY username",
            $direction,
            ", seq",
            $direction,
            " LIMIT $4 \
                     ) AS found \
                 ) AS merged ORDER BY merged.seq",
            $direction,
            " LIMIT $4))"
        )
    };
}

const FIND_BY_NAMES: &str = find_by_names!(">", "<=", "");
const FIND_BY_NAMES_DESC: &str = find_by_names!("<", ">=", " DESC");

impl Messages<'_> {
    /// Lists a page of the stored messages that a caller may read. Examines a limited number of
    /// messages, so a page can be empty even if more messages follow.
    ///
    /// Complexity: O(n (log m + e)) for m messages, n exact names (1 for a list with filters or
    /// patterns) and e examined messages, where n e is at most 5,000 or n times the limit.
    pub async fn list_readable_page(
        self,
        request: &PageRequest,
        rights: &ReadRights<'_>,
    ) -> Result<Page, ColdError> {
        self.store
            .read(ReadKind::MessageLists, async |connection| {
                list_readable_page(connection, request, rights).await
            })
            .await
    }
}

async fn list_readable_page(
    connection: &mut AsyncPgConnection,
    request: &PageRequest,
    rights: &ReadRights<'_>,
) -> QueryResult<Page> {
    let has_filter = request.channel.is_some() || request.username.is_some();
    let names = rights.names.as_ref().filter(|_| !has_filter);
    let streams = names.map_or(1, |names| names.channels.len() + names.usernames.len()).max(1);
    let items_max = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let examined_max = items_max.saturating_add(1).max(EXAMINED_MAX / streams);
    let mut selection = Selection { items_max, seqs: Vec::new(), bytes: 0 };
    let start = request.after;
    let mut request = request.clone();
    let (mut examined, mut rows_max) = (0, items_max.saturating_add(1));
    let (is_full, is_end) = loop {
        let candidates = find_candidates(connection, &request, names, rows_max).await?;
        let is_end = candidates.len() < rows_max;
        examined += candidates.len();
        let mut is_full = false;
        for candidate in candidates {
            if (rights.is_readable)(&candidate.channel, candidate.username.as_deref())
                && !selection.add(&candidate)
            {
                is_full = true;
                break;
            }
            request.after = Some(candidate.seq);
        }
        if is_full || is_end || examined >= examined_max {
            break (is_full, is_end);
        }
        rows_max = rows_max.saturating_mul(GROWTH).min(examined_max - examined);
    };
    let mut items = find_by_seqs(connection, &selection.seqs).await?;
    items.sort_unstable_by_key(|item| item.seq);
    if request.order == Order::Desc {
        items.reverse();
    }
    let up_to =
        if is_full || is_end { selection.seqs.last().copied().or(start) } else { request.after };
    Ok(Page { items, has_more: is_full || !is_end, up_to })
}

/// Finds the next messages in the order of the list, at most `rows_max`.
async fn find_candidates(
    connection: &mut AsyncPgConnection,
    request: &PageRequest,
    names: Option<&ReadableNames<'_>>,
    rows_max: usize,
) -> QueryResult<Vec<Candidate>> {
    let Some(names) = names else {
        let columns = (messages::seq, messages::channel, messages::username, messages::body_bytes);
        let limit = u32::try_from(rows_max).unwrap_or(u32::MAX);
        return PageQuery::new(request, limit, columns).load(connection).await;
    };
    let (statement, end) = match request.order {
        Order::Asc => (FIND_BY_NAMES, i64::MIN),
        Order::Desc => (FIND_BY_NAMES_DESC, i64::MAX),
    };
    let mut candidates: Vec<Candidate> = diesel::sql_query(statement)
        .bind::<Array<Text>, _>(&names.channels)
        .bind::<Array<Text>, _>(&names.usernames)
        .bind::<BigInt, _>(request.after.unwrap_or(end))
        .bind::<BigInt, _>(i64::try_from(rows_max).unwrap_or(i64::MAX))
        .load(connection)
        .await?;
    candidates.sort_unstable_by_key(|candidate| candidate.seq);
    if request.order == Order::Desc {
        candidates.reverse();
    }
    Ok(candidates)
}

/// Finds messages by sequence number, in no particular order.
async fn find_by_seqs(
    connection: &mut AsyncPgConnection,
    seqs: &[i64],
) -> QueryResult<Vec<StoredMessage>> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<MessageRow> = messages::table
        .filter(messages::seq.eq_any(seqs))
        .select(MessageRow::as_select())
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(StoredMessage::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(selection: &mut Selection, seq: i64, bytes: usize) -> bool {
        selection.add(&Candidate {
            seq,
            channel: "a".to_owned(),
            username: None,
            body_bytes: i32::try_from(bytes).expect("a size that fits"),
        })
    }

    #[test]
    fn page_is_limited_in_items_and_bytes() {
        let mut selection = Selection { items_max: 2, seqs: Vec::new(), bytes: 0 };
        assert!(add(&mut selection, 1, 9) && add(&mut selection, 2, 9));
        assert!(!add(&mut selection, 3, 9));
        let mut selection = Selection { items_max: 9, seqs: Vec::new(), bytes: 0 };
        assert!(add(&mut selection, 4, limits::PAGE_BYTES_MAX + 1), "at least one message");
        assert!(!add(&mut selection, 5, 1));
        assert_eq!(selection.seqs, [4]);
    }
}
