//! `/v1/pulse`: the current load and health of the whole system.

use actix_web::{HttpResponse, web::Data};
use mayfly_auth::Access;
use mayfly_http::{CallerIdentity, NoQuery, Problem};

use super::response::json_response;
use crate::pulse::PulseQueries;

/// Returns the latest pulse.
pub async fn get_pulse(
    queries: Data<PulseQueries>,
    identity: CallerIdentity,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    identity.check(&Access::ReadPulse)?;
    Ok(json_response(queries.find_pulse().await?))
}
