//! The query that reads a page of messages.

use std::borrow::Cow;

use diesel::{
    expression::{Expression, SelectableExpression},
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    sql_types::{BigInt, Text},
};
use mayfly_core::Order;

use super::PageRequest;
use crate::store::messages;

/// A query that selects columns of the messages in a page.
///
/// A filtered page is also sorted by the filtered expression, so that only the index on this
/// expression provides the sort order. With `channel = $1 ORDER BY seq`, the planner could scan the
/// index `messages_seq` and skip the messages of other channels. The planner prefers that scan if
/// the channel has many messages, even if all of these messages are at the far end of the index. In
/// ascending order, a page of a channel is therefore read with these clauses:
///
/// ```sql
/// WHERE (channel, seq) > ($1, $2) AND channel <= $1 ORDER BY channel, seq LIMIT $3
/// ```
pub(super) struct PageQuery<'a, S> {
    selection: S,
    filter: Option<Filter<'a>>,
    order: Order,
    /// The sequence number after which the page starts.
    after: i64,
    limit: i64,
}

/// The filter for a page: an indexed expression and its required value.
struct Filter<'a> {
    key: &'static str,
    value: Cow<'a, str>,
}

impl<'a> Filter<'a> {
    fn new(request: &'a PageRequest) -> Option<Self> {
        let (key, value) = match (&request.channel, &request.username) {
            (None, None) => return None,
            (Some(channel), None) => ("channel", channel.as_str().into()),
            (None, Some(username)) => ("username", username.as_str().into()),
            // A channel contains no space, so the combined value is unambiguous.
            (Some(channel), Some(username)) => (
                "((channel || ' ' || username) COLLATE \"C\")",
                format!("{} {}", channel.as_str(), username.as_str()).into(),
            ),
        };
        Some(Self { key, value })
    }
}

impl<'a, S> PageQuery<'a, S> {
    /// Creates a query that selects `selection` from up to `limit` rows.
    pub(super) fn new(request: &'a PageRequest, limit: u32, selection: S) -> Self {
        let end = match request.order {
            Order::Asc => i64::MIN,
            Order::Desc => i64::MAX,
        };
        Self {
            selection,
            filter: Filter::new(request),
            order: request.order,
            after: request.after.unwrap_or(end),
            limit: i64::from(limit),
        }
    }
}

impl<S: SelectableExpression<messages::table>> Query for PageQuery<'_, S> {
    type SqlType = <S as Expression>::SqlType;
}

/// Without a static ID, the statement cache identifies the query by its text.
impl<S> QueryId for PageQuery<'_, S> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S: QueryFragment<Pg>> QueryFragment<Pg> for PageQuery<'_, S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let (after, up_to, direction) = match self.order {
            Order::Asc => (" > ", " <= ", ""),
            Order::Desc => (" < ", " >= ", " DESC"),
        };
        out.push_sql("SELECT ");
        self.selection.walk_ast(out.reborrow())?;
        out.push_sql(" FROM messages WHERE ");
        if let Some(Filter { key, value }) = &self.filter {
            for part in ["(", key, ", seq)", after, "("] {
                out.push_sql(part);
            }
            out.push_bind_param::<Text, str>(value)?;
            out.push_sql(", ");
            out.push_bind_param::<BigInt, _>(&self.after)?;
            for part in [") AND ", key, up_to] {
                out.push_sql(part);
            }
            out.push_bind_param::<Text, str>(value)?;
            for part in [" ORDER BY ", key, direction, ", seq", direction] {
                out.push_sql(part);
            }
        } else {
            for part in ["seq", after] {
                out.push_sql(part);
            }
            out.push_bind_param::<BigInt, _>(&self.after)?;
            for part in [" ORDER BY seq", direction] {
                out.push_sql(part);
            }
        }
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)
    }
}
