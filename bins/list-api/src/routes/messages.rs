//! `/v1/messages` and `/v1/messages/{id}`; `/chat/{id}` is the latter by another name.

use actix_web::{
    HttpResponse,
    http::header::LINK,
    web::{Data, Path},
};
use mayfly_cold::{Page, PageRequest};
use mayfly_core::{Channel, Cursor, MessageId, Order, Username, limits};
use mayfly_http::{Caller, NoQuery, Problem, Query};
use serde::Deserialize;

use super::{Limit, items, json};
use crate::{
    listing::Listing,
    problems::{invalid_cursor, no_message},
};

/// The parameters of the walk.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalkParameters {
    limit: Option<Limit>,
    cursor: Option<String>,
    channel: Option<Channel>,
    username: Option<Username>,
    order: Option<Order>,
}

impl WalkParameters {
    /// The cursor that was handed back, checked against the order that was asked for.
    fn cursor(&self) -> Result<Option<Cursor>, Problem> {
        let Some(text) = &self.cursor else { return Ok(None) };
        let cursor: Cursor = text
            .parse()
            .map_err(|_| invalid_cursor("is not a cursor that this service gave out"))?;
        match self.order {
            Some(order) if order != cursor.order => {
                Err(invalid_cursor("belongs to a walk in the other order"))
            }
            _ => Ok(Some(cursor)),
        }
    }
}

/// Gives a message, live or expired.
pub async fn get_message(
    listing: Data<Listing>,
    id: Path<String>,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    // What cannot be an id is the id of nothing.
    let id: MessageId = id.parse().map_err(|_| no_message())?;
    listing.find_message(id).await?.map(json).ok_or_else(no_message)
}

/// Expires a message now.
pub async fn delete_message(
    listing: Data<Listing>,
    caller: Caller,
    id: Path<String>,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    let id: MessageId = id.parse().map_err(|_| no_message())?;
    if listing.delete_message(id, &caller).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(no_message())
    }
}

/// Lists everything that was ever stored, in the order of persistence, page by page.
pub async fn list_messages(
    listing: Data<Listing>,
    parameters: Query<WalkParameters>,
) -> Result<HttpResponse, Problem> {
    let parameters = parameters.0;
    let cursor = parameters.cursor()?;
    let request = PageRequest {
        limit: parameters.limit.map_or(limits::PAGE_ITEMS_DEFAULT, |limit| limit.0),
        order: cursor.map(|cursor| cursor.order).or(parameters.order).unwrap_or_default(),
        after: cursor.map(|cursor| cursor.seq),
        channel: parameters.channel,
        username: parameters.username,
    };
    let page = listing.list_messages(&request).await?;
    let last = page.items.last().map(|item| Cursor { order: request.order, seq: item.seq });
    let next = last.or(cursor);
    let mut answer = json(page_json(&page, next));
    if let (true, Some(next)) = (page.has_more, next) {
        let link = format!("<{}>; rel=\"next\"", listing.url(&next_path(&request, next)));
        if let Ok(link) = link.parse() {
            answer.headers_mut().insert(LINK, link);
        }
    }
    Ok(answer)
}

/// A cursor is letters and digits: it needs no escape in JSON.
fn page_json(page: &Page, next: Option<Cursor>) -> Vec<u8> {
    let next = next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    let after = format!(",\"next_cursor\":{next},\"has_more\":{}", page.has_more);
    items(page.items.iter().map(|item| item.json.as_slice()), &after)
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
