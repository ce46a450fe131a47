//! `POST /v1/plays`.

use actix_web::{HttpResponse, web::Data};
use mayfly_core::plays::split_plays;
use mayfly_http::{NoQuery, Problem, UnreadBody};
use serde::Serialize;

use super::body::{parse_utf8, read_json};
use crate::{
    client_identity::ClientIdentity, plays::PlayIngestion, problems::invalid_input,
    rights::authorize_plays,
};

#[derive(Serialize)]
struct PlaysResponse {
    accepted: usize,
}

/// Accepts one or more plays atomically.
pub async fn post_plays(
    plays: Data<PlayIngestion>,
    client: ClientIdentity,
    _: NoQuery,
    body: UnreadBody,
) -> Result<HttpResponse, Problem> {
    let body = read_json(body, |bytes| plays.check(&client, bytes)).await?;
    let items = split_plays(parse_utf8(&body.bytes)?).map_err(invalid_input)?;
    let accepted = items.len();
    plays.check_items(&client, body.bytes.len(), accepted)?;
    let new = items.parse().map_err(invalid_input)?;
    authorize_plays(client.identity())?;
    let context = client.into_context("plays", &body.bytes);
    let write = plays.accept(new, context, body).await?;
    let mut response = HttpResponse::Accepted().json(PlaysResponse { accepted });
    write.write_headers(response.headers_mut());
    Ok(response)
}
