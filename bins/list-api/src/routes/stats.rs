//! `/v1/stats` and `/stat/get/`: redirects to the snapshot in S3.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, LOCATION},
    web::Data,
};
use mayfly_http::{NoQuery, Problem};

use crate::snapshot::SnapshotQueries;

/// Redirects to the snapshot. The response must not be cached, because a signed URL expires.
pub async fn get_stats(
    snapshot: Data<SnapshotQueries>,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    let url = snapshot.find_url().await?;
    let response = HttpResponse::Found()
        .insert_header((LOCATION, url))
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish();
    Ok(response)
}
