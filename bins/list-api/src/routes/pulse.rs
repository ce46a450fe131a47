//! `/v1/pulse`: the current load and health of the whole system.

use actix_web::{HttpResponse, web::Data};
use mayfly_http::{NoQuery, Problem};

use super::response::json_response;
use crate::pulse::PulseQueries;

/// Returns the latest pulse.
pub async fn get_pulse(queries: Data<PulseQueries>, _: NoQuery) -> Result<HttpResponse, Problem> {
    Ok(json_response(queries.find_pulse().await?))
}
