//! `/v1/messages` and `/v1/messages/{id}`. `/chat/{id}` is an alias for reading a message.

use actix_web::{
    HttpResponse,
    http::header::LINK,
    web::{Data, Path},
};
use mayfly_cold::{Page, PageRequest};
use mayfly_core::{Channel, Cursor, MessageId, Order, Username, limits};
use mayfly_http::{Caller, CallerIdentity, NoQuery, Problem, Query};
use serde::Deserialize;

use super::{
    parameters::Limit,
    response::{json_page, json_response},
};
use crate::{
    messages::{MessageQueries, MessageRights},
    problems::{invalid_cursor, message_not_found},
};

/// The parameters of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParameters {
    limit: Option<Limit>,
    cursor: Option<String>,
    channel: Option<Channel>,
    username: Option<Username>,
    order: Option<Order>,
}

impl ListParameters {
    /// Parses the cursor and checks that it matches the order.
    fn parse_cursor(&self) -> Result<Option<Cursor>, Problem> {
        let Some(text) = &self.cursor else { return Ok(None) };
        let cursor: Cursor =
            text.parse().map_err(|_| invalid_cursor("is not a cursor issued by this service"))?;
        match self.order {
            Some(order) if order != cursor.order => {
                Err(invalid_cursor("belongs to a list in the other order"))
            }
            _ => Ok(Some(cursor)),
        }
    }
}

/// Returns a message, live or expired. A message that the caller may not read is not found.
pub async fn get_message(
    messages: Data<MessageQueries>,
    identity: CallerIdentity,
    id: Path<String>,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    // No message can have an invalid ID.
    let id: MessageId = id.parse().map_err(|_| message_not_found())?;
    let rights = MessageRights::to_read(identity.identity());
    messages.find_message(id, rights).await?.map(json_response).ok_or_else(message_not_found)
}

/// Expires a message immediately. A message that the caller may not delete is not found.
pub async fn delete_message(
    messages: Data<MessageQueries>,
    caller: Caller,
    identity: CallerIdentity,
    id: Path<String>,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    let id: MessageId = id.parse().map_err(|_| message_not_found())?;
    let rights = MessageRights::to_delete(identity.identity());
    if messages.delete_message(id, rights, &caller).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(message_not_found())
    }
}

/// Lists one page of the stored messages that the caller may read, in the order in which they were
/// stored or in reverse order.
pub async fn list_messages(
    messages: Data<MessageQueries>,
    identity: CallerIdentity,
    parameters: Query<ListParameters>,
) -> Result<HttpResponse, Problem> {
    let parameters = parameters.0;
    let cursor = parameters.parse_cursor()?;
    let request = PageRequest {
        limit: parameters.limit.map_or(limits::PAGE_ITEMS_DEFAULT, Limit::get),
        order: cursor.map(|cursor| cursor.order).or(parameters.order).unwrap_or_default(),
        after: cursor.map(|cursor| cursor.seq),
        channel: parameters.channel,
        username: parameters.username,
    };
    let page = messages.list_messages(&request, identity.identity()).await?;
    let next = page.up_to.map(|seq| Cursor { order: request.order, seq });
    let mut response = json_response(page_json(&page, next));
    if let (true, Some(next)) = (page.has_more, next) {
        let link = format!("<{}>; rel=\"next\"", messages.public_url(&next_path(&request, next)));
        if let Ok(link) = link.parse() {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}

/// Encodes a page. A cursor consists of letters and digits and needs no escaping.
fn page_json(page: &Page, next: Option<Cursor>) -> Vec<u8> {
    let next = next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    let rest = format!(",\"next_cursor\":{next},\"has_more\":{}", page.has_more);
    json_page(page.items.iter().map(|item| item.json.as_slice()), &rest)
}

fn next_path(request: &PageRequest, next: Cursor) -> String {
    let path = "/v1/messages?";
    let mut query = form_urlencoded::Serializer::for_suffix(path.to_owned(), path.len());
    query.append_pair("limit", &request.limit.to_string());
    query.append_pair("cursor", &next.to_string());
    if let Some(channel) = &request.channel {
        query.append_pair("channel", channel.as_str());
    }
    if let Some(username) = &request.username {
        query.append_pair("username", username.as_str());
    }
    query.finish()
}
