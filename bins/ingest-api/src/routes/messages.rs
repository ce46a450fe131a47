//! `POST /v1/messages` and `POST /v1/messages/batch`.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use mayfly_core::{
    MessageId, NewMessage,
    message::{split_array, split_lines},
};
use mayfly_http::{BodyFormat, NoQuery, Problem, UnreadBody};
use serde::Serialize;

use super::{
    body::{parse_utf8, read_json, read_json_or_ndjson},
    response::message_response,
};
use crate::{
    client_identity::ClientIdentity,
    messages::MessageIngestion,
    problems::invalid_input,
    rights::{authorize_batch, authorize_message},
};

/// Accepts one message.
pub async fn post_message(
    messages: Data<MessageIngestion>,
    client: ClientIdentity,
    _: NoQuery,
    body: UnreadBody,
) -> Result<HttpResponse, Problem> {
    let body = read_json(body, |bytes| messages.check(&client, bytes)).await?;
    let mut new = NewMessage::from_json(parse_utf8(&body.bytes)?).map_err(invalid_input)?;
    authorize_message(client.identity(), &mut new)?;
    let context = client.into_context("messages", &body.bytes);
    let accepted = messages.accept(new, context, Some(body)).await?;
    let location = messages.message_url("/v1/messages/", accepted.message.id);
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
    body: UnreadBody,
) -> Result<HttpResponse, Problem> {
    let (format, body) = read_json_or_ndjson(body, |bytes| messages.check(&client, bytes)).await?;
    let text = parse_utf8(&body.bytes)?;
    let items = match format {
        BodyFormat::Json => split_array(text),
        BodyFormat::Ndjson => split_lines(text),
    };
    let items = items.map_err(invalid_input)?;
    messages.check_items(&client, body.bytes.len(), items.len())?;
    let mut new = items.parse().map_err(invalid_input)?;
    authorize_batch(client.identity(), &mut new)?;
    let context = client.into_context("batch", &body.bytes);
    let (ids, write) = messages.accept_batch(new, context, body).await?;
    let mut response = HttpResponse::Accepted().json(BatchResponse { accepted: ids.len(), ids });
    write.write_headers(response.headers_mut());
    Ok(response)
}
