//! `/v1/plays` and `/v1/plays/{video_id}`: play counts.

use actix_web::{HttpResponse, http::header::LINK, web::Data};
use mayfly_auth::Access;
use mayfly_core::{PlayCount, PlayCursor, VideoId, limits};
use mayfly_http::{CallerIdentity, NoQuery, PathParam, Problem, Query};
use serde::{Deserialize, Serialize};

use super::parameters::Limit;
use crate::{
    messages::MessageQueries,
    plays::PlayCountQueries,
    problems::{invalid_cursor, invalid_name, plays_not_found},
};

/// The parameters of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaysParameters {
    limit: Option<Limit>,
    cursor: Option<String>,
}

/// A page of play counts.
#[derive(Serialize)]
struct Page<'a> {
    items: &'a [PlayCount],
    next_cursor: Option<String>,
    has_more: bool,
}

/// Lists the play counts of videos, highest first.
pub async fn list_plays(
    counts: Data<PlayCountQueries>,
    messages: Data<MessageQueries>,
    identity: CallerIdentity,
    parameters: Query<PlaysParameters>,
) -> Result<HttpResponse, Problem> {
    identity.check(&Access::ReadPlays)?;
    let PlaysParameters { limit, cursor } = parameters.0;
    let limit = limit.map_or(limits::PAGE_ITEMS_DEFAULT, Limit::get);
    let cursor: Option<PlayCursor> = cursor
        .map(|cursor| cursor.parse())
        .transpose()
        .map_err(|_| invalid_cursor("is not a cursor issued by this service"))?;
    let page = counts.list_counts(limit, cursor.as_ref()).await?;
    let next = PlayCursor::after(&page.items, cursor.as_ref()).or(cursor);
    let next_cursor = next.map(|next| next.to_string());
    let mut response = HttpResponse::Ok();
    if let (true, Some(next)) = (page.has_more, &next_cursor) {
        // A cursor consists of letters, digits and dashes and needs no escaping.
        let url = messages.public_url(&format!("/v1/plays?limit={limit}&cursor={next}"));
        response.insert_header((LINK, format!("<{url}>; rel=\"next\"")));
    }
    Ok(response.json(Page { items: &page.items, next_cursor, has_more: page.has_more }))
}

/// Returns the play count of a video.
pub async fn get_plays(
    counts: Data<PlayCountQueries>,
    identity: CallerIdentity,
    name: PathParam,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    identity.check(&Access::ReadPlays)?;
    let video_id = VideoId::parse(name.0).map_err(|rule| invalid_name("video_id", rule))?;
    let count = counts.find_count(&video_id).await?.ok_or_else(plays_not_found)?;
    Ok(HttpResponse::Ok().json(count))
}
