//! `/v1/users/{username}/messages`: the inbox, looked at and taken.

use actix_web::{HttpResponse, web::Data};
use mayfly_core::{Username, limits};
use mayfly_hot::Inbox;
use mayfly_http::{Caller, IdempotencyKey, PathName, Problem, Query};

use super::{LimitParameter, items, json};
use crate::{
    listing::{Listing, Taken},
    problems::invalid_name,
};

/// The username in the path.
pub fn username(name: PathName) -> Result<Username, Problem> {
    Username::parse(name.0).map_err(|rule| invalid_name("username", rule))
}

/// Looks at an inbox, oldest first, and leaves it as it is.
pub async fn list_inbox(
    listing: Data<Listing>,
    name: PathName,
    parameters: Query<LimitParameter>,
) -> Result<HttpResponse, Problem> {
    let limit = parameters.0.or(limits::PAGE_ITEMS_DEFAULT);
    let inbox = listing.list_inbox(&username(name)?, limit).await?;
    Ok(json(inbox_json(&inbox)))
}

/// Takes an inbox: what is returned is expired in the same step.
pub async fn take_inbox(
    listing: Data<Listing>,
    caller: Caller,
    key: IdempotencyKey,
    name: PathName,
    parameters: Query<LimitParameter>,
) -> Result<HttpResponse, Problem> {
    let limit = parameters.0.or(limits::PAGE_ITEMS_MAX);
    let taken = listing.take_inbox(&username(name)?, limit, key, &caller).await?;
    Ok(marked(json(inbox_json(&taken.inbox)), &taken))
}

/// The answer, marked where it was given before.
pub fn marked(mut answer: HttpResponse, taken: &Taken) -> HttpResponse {
    if taken.is_replayed {
        IdempotencyKey::mark_replayed(answer.headers_mut());
    }
    answer
}

fn inbox_json(inbox: &Inbox) -> Vec<u8> {
    let after = format!(",\"has_more\":{}", inbox.has_more);
    items(inbox.messages.iter().map(Vec::as_slice), &after)
}
