//! `GET /chats/{username}`: takes an inbox and returns its messages as an array.

use actix_web::{HttpResponse, web::Data};
use mayfly_auth::Access;
use mayfly_core::limits;
use mayfly_http::{Caller, CallerIdentity, IdempotencyKey, PathParam, Problem, Query};

use super::{
    inbox::{mark_replayed, parse_username},
    parameters::InboxParameters,
    response::{json_array, json_response},
};
use crate::messages::MessageQueries;

/// Takes an inbox.
pub async fn get_chats(
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
    let response = json_response(json_array(taken.inbox.messages.iter().map(Vec::as_slice)));
    Ok(mark_replayed(response, &taken))
}

/// Returns the headers of a `GET` response without taking the inbox.
pub async fn head_chats(
    identity: CallerIdentity,
    name: PathParam,
    _: Query<InboxParameters>,
) -> Result<HttpResponse, Problem> {
    let username = parse_username(name)?;
    identity.check(&Access::TakeInbox { username: username.as_str() })?;
    Ok(HttpResponse::Ok().content_type("application/json").finish())
}
