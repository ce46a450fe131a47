//! `/v1/stats` and `/stat/get/`: the way to the snapshot in S3.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, LOCATION},
    web::Data,
};
use mayfly_http::{NoQuery, Problem};

use crate::statistics::Statistics;

/// Leads to the snapshot. What is signed must not be kept for longer than it is good.
pub async fn get_stats(statistics: Data<Statistics>, _: NoQuery) -> Result<HttpResponse, Problem> {
    let url = statistics.find_url().await?;
    let answer = HttpResponse::Found()
        .insert_header((LOCATION, url))
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish();
    Ok(answer)
}
