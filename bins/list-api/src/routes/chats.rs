//! `GET /chats/{username}`: the inbox taken, as an array.

use actix_web::{HttpResponse, web::Data};
use mayfly_core::limits;
use mayfly_http::{Caller, IdempotencyKey, PathName, Problem, Query};

use super::{
    LimitParameter, array,
    inbox::{marked, username},
    json,
};
use crate::listing::Listing;

/// Takes an inbox.
pub async fn get_chats(
    listing: Data<Listing>,
    caller: Caller,
    key: IdempotencyKey,
    name: PathName,
    parameters: Query<LimitParameter>,
) -> Result<HttpResponse, Problem> {
    let limit = parameters.0.or(limits::PAGE_ITEMS_MAX);
    let taken = listing.take_inbox(&username(name)?, limit, key, &caller).await?;
    let answer = json(array(taken.inbox.messages.iter().map(Vec::as_slice)));
    Ok(marked(answer, &taken))
}

/// Says what a `GET` would be, and takes nothing.
pub async fn head_chats(name: PathName, _: Query<LimitParameter>) -> Result<HttpResponse, Problem> {
    username(name)?;
    Ok(HttpResponse::Ok().content_type("application/json").finish())
}
