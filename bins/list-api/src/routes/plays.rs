//! `/v1/plays` and `/v1/plays/{video_id}`: how often videos were played.

use actix_web::{HttpResponse, http::header::LINK, web::Data};
use mayfly_core::{PlayCount, PlayCursor, VideoId, limits};
use mayfly_http::{NoQuery, PathName, Problem, Query};
use serde::{Deserialize, Serialize};

use super::Limit;
use crate::{
    counts::Counts,
    listing::Listing,
    problems::{invalid_cursor, invalid_name, no_plays},
};

/// The parameters of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaysParameters {
    limit: Option<Limit>,
    cursor: Option<String>,
}

/// A page of counts.
#[derive(Serialize)]
struct Page<'a> {
    items: &'a [PlayCount],
    next_cursor: Option<String>,
    has_more: bool,
}

/// Lists how often videos were played, the most played first.
pub async fn list_plays(
    counts: Data<Counts>,
    listing: Data<Listing>,
    parameters: Query<PlaysParameters>,
) -> Result<HttpResponse, Problem> {
    let PlaysParameters { limit, cursor } = parameters.0;
    let limit = limit.map_or(limits::PAGE_ITEMS_DEFAULT, |limit| limit.0);
    let behind: Option<PlayCursor> = cursor
        .map(|cursor| cursor.parse())
        .transpose()
        .map_err(|_| invalid_cursor("is not a cursor that this service gave out"))?;
    let page = counts.list_counts(limit, behind.as_ref()).await?;
    let next = PlayCursor::behind(&page.items, behind.as_ref()).or(behind);
    let next_cursor = next.map(|next| next.to_string());
    let mut answer = HttpResponse::Ok();
    if let (true, Some(next)) = (page.has_more, &next_cursor) {
        // A cursor is letters, digits and dashes: it needs no escape.
        let url = listing.url(&format!("/v1/plays?limit={limit}&cursor={next}"));
        answer.insert_header((LINK, format!("<{url}>; rel=\"next\"")));
    }
    Ok(answer.json(Page { items: &page.items, next_cursor, has_more: page.has_more }))
}

/// How often a video was played.
pub async fn get_plays(
    counts: Data<Counts>,
    name: PathName,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    let video_id = VideoId::parse(name.0).map_err(|rule| invalid_name("video_id", rule))?;
    let count = counts.find_count(&video_id).await?.ok_or_else(no_plays)?;
    Ok(HttpResponse::Ok().json(count))
}
