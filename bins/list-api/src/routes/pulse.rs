//! `/v1/pulse`: how the whole is doing.

use actix_web::{HttpResponse, web::Data};
use mayfly_http::{NoQuery, Problem};

use crate::counts::Counts;

/// Gives the pulse as it was taken last.
pub async fn get_pulse(counts: Data<Counts>, _: NoQuery) -> Result<HttpResponse, Problem> {
    let pulse = counts.find_pulse().await?;
    Ok(HttpResponse::Ok().content_type("application/json").body(pulse))
}
