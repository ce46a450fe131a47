//! `POST /v1/plays`.

use actix_web::{HttpResponse, web::Data};
use mayfly_core::plays::parse_plays;
use mayfly_http::{JsonBody, NoQuery, Problem};
use serde::Serialize;

use super::body::parse_utf8;
use crate::{client_identity::ClientIdentity, plays::PlayIngestion, problems::invalid_input};

#[derive(Serialize)]
struct PlaysResponse {
    accepted: usize,
}

/// Accepts one play or several plays atomically.
pub async fn post_plays(
    plays: Data<PlayIngestion>,
    client: ClientIdentity,
    _: NoQuery,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = parse_plays(parse_utf8(&body.0)?).map_err(invalid_input)?;
    let accepted = new.len();
    let write = plays.accept(&new, client.into_context("plays", &body.0)).await?;
    let mut response = HttpResponse::Accepted().json(PlaysResponse { accepted });
    write.write_headers(response.headers_mut());
    Ok(response)
}
