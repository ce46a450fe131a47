//! `POST /v1/messages` and `POST /v1/messages/batch`.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use mayfly_core::{
    MessageId, NewMessage,
    message::{parse_array, parse_lines},
};
use mayfly_http::{BodyFormat, JsonBody, NdjsonOrJsonBody, NoQuery, Problem};
use serde::Serialize;

use super::{body::parse_utf8, response::message_response};
use crate::{client_identity::ClientIdentity, messages::MessageIngestion, problems::invalid_input};

/// Accepts one message.
pub async fn post_message(
    messages: Data<MessageIngestion>,
    client: ClientIdentity,
    _: NoQuery,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = NewMessage::from_json(parse_utf8(&body.0)?).map_err(invalid_input)?;
    let accepted = messages.accept(new, client.into_context("messages", &body.0)).await?;
    let location = messages.list_url(format_args!("/v1/messages/{}", accepted.message.id));
    Ok(message_response(StatusCode::ACCEPTED, location, &accepted))
}

#[derive(Serialize)]
struct BatchResponse {
    accepted: usize,
    ids: Vec<MessageId>,
}

/// Accepts a batch of messages atomically.
pub async fn post_messages(
    messages: Data<MessageIngestion>,
    client: ClientIdentity,
    _: NoQuery,
    body: NdjsonOrJsonBody,
) -> Result<HttpResponse, Problem> {
    let items = parse_utf8(&body.bytes)?;
    let new = match body.format {
        BodyFormat::Json => parse_array(items),
        BodyFormat::Ndjson => parse_lines(items),
    };
    let new = new.map_err(invalid_input)?;
    let context = client.into_context("batch", &body.bytes);
    let (ids, write) = messages.accept_batch(new, context).await?;
    let mut response = HttpResponse::Accepted().json(BatchResponse { accepted: ids.len(), ids });
    write.write_headers(response.headers_mut());
    Ok(response)
}
