//! `POST /v1/visits`.

use actix_web::{HttpResponse, web::Data};
use mayfly_core::trends::parse_visits;
use mayfly_http::{JsonBody, NoQuery, Problem};
use serde::Serialize;

use super::body::parse_utf8;
use crate::{client_identity::ClientIdentity, problems::invalid_input, visits::VisitIngestion};

#[derive(Serialize)]
struct VisitsResponse {
    accepted: usize,
}

/// Accepts one visit or several visits atomically.
pub async fn post_visits(
    visits: Data<VisitIngestion>,
    client: ClientIdentity,
    _: NoQuery,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = parse_visits(parse_utf8(&body.0)?).map_err(invalid_input)?;
    let accepted = new.len();
    let write = visits.accept(new, client.into_context("visits", &body.0)).await?;
    let mut response = HttpResponse::Accepted().json(VisitsResponse { accepted });
    write.write_headers(response.headers_mut());
    Ok(response)
}
