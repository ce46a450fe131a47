//! `/v1/users/{username}/messages` and `/v1/users/{username}/messages/take`: list and take an
//! inbox.

use actix_web::{HttpResponse, web::Data};
use mayfly_auth::Access;
use mayfly_core::{Username, limits};
use mayfly_hot::InboxPage;
use mayfly_http::{Caller, CallerIdentity, IdempotencyKey, PathParam, Problem, Query};

use super::{
    parameters::InboxParameters,
    response::{json_page, json_response},
};
use crate::{
    messages::{MessageQueries, Taken},
    problems::invalid_name,
};

/// Parses the username in the path.
pub fn parse_username(name: PathParam) -> Result<Username, Problem> {
    Username::parse(name.0).map_err(|rule| invalid_name("username", rule))
}

/// Lists an inbox, oldest message first, without changing it.
pub async fn list_inbox(
    messages: Data<MessageQueries>,
    identity: CallerIdentity,
    name: PathParam,
    parameters: Query<InboxParameters>,
) -> Result<HttpResponse, Problem> {
    let limit = parameters.0.limit_or(limits::PAGE_ITEMS_DEFAULT);
    let username = parse_username(name)?;
    identity.check(&Access::ReadInbox { username: username.as_str() })?;
    let inbox = messages.list_inbox(&username, limit).await?;
    Ok(json_response(inbox_json(&inbox)))
}

/// Takes an inbox: returns messages and expires them in the same step.
pub async fn take_inbox(
    messages: Data<MessageQueries>,
    caller: Caller,
    identity: CallerIdentity,
    key: IdempotencyKey,
    name: PathParam,
    parameters: Query<InboxParameters>,
) -> Result<HttpResponse, Problem> {
    let limit = parameters.0.limit_or(limits::PAGE_ITEMS_MAX);
    let username = parse_username(name)?;
    identity.check(&Access::TakeInbox { username: username.as_str() })?;
    let taken = messages.take_inbox(&username, limit, key, &caller, &identity).await?;
    Ok(mark_replayed(json_response(inbox_json(&taken.inbox)), &taken))
}

/// Marks the response to a take if the take is replayed.
pub fn mark_replayed(mut response: HttpResponse, taken: &Taken) -> HttpResponse {
    if taken.is_replayed {
        IdempotencyKey::mark_replayed(response.headers_mut());
    }
    response
}

fn inbox_json(inbox: &InboxPage) -> Vec<u8> {
    let rest = format!(",\"has_more\":{}", inbox.has_more);
    json_page(inbox.messages.iter().map(Vec::as_slice), &rest)
}
