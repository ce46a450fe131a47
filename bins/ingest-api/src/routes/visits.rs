//! `POST /v1/visits`.

use actix_web::{HttpResponse, web::Data};
use mayfly_core::trends::split_visits;
use mayfly_http::{NoQuery, Problem, UnreadBody};
use serde::Serialize;

use super::body::{parse_utf8, read_json_or_beacon};
use crate::{
    client_identity::ClientIdentity, problems::invalid_input, rights::authorize_visits,
    visits::VisitIngestion,
};

#[derive(Serialize)]
struct VisitsResponse {
    accepted: usize,
}

/// Accepts one or more visits atomically.
pub async fn post_visits(
    visits: Data<VisitIngestion>,
    client: ClientIdentity,
    _: NoQuery,
    body: UnreadBody,
) -> Result<HttpResponse, Problem> {
    let body = read_json_or_beacon(body, |bytes| visits.check(&client, bytes)).await?;
    let items = split_visits(parse_utf8(&body.bytes)?).map_err(invalid_input)?;
    let (accepted, is_batch) = (items.len(), items.is_batch());
    visits.check_items(&client, body.bytes.len(), accepted)?;
    let new = items.parse().map_err(invalid_input)?;
    authorize_visits(client.identity(), &new, is_batch)?;
    let context = client.into_context("visits", &body.bytes);
    let write = visits.accept(new, context, body).await?;
    let mut response = HttpResponse::Accepted().json(VisitsResponse { accepted });
    write.write_headers(response.headers_mut());
    Ok(response)
}
