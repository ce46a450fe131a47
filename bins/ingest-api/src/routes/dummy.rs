//! `POST /dummy`.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use mayfly_core::NewMessage;
use mayfly_http::{JsonBody, NoQuery, Problem};

use super::{body::parse_utf8, response::message_response};
use crate::{client_identity::ClientIdentity, messages::MessageIngestion, problems::invalid_input};

/// Accepts any JSON document.
pub async fn post_dummy(
    messages: Data<MessageIngestion>,
    client: ClientIdentity,
    _: NoQuery,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = NewMessage::from_document(parse_utf8(&body.0)?).map_err(invalid_input)?;
    let accepted = messages.accept(new, client.into_context("dummy", &body.0)).await?;
    let location = messages.list_url(format_args!("/v1/messages/{}", accepted.message.id));
    Ok(message_response(StatusCode::ACCEPTED, location, &accepted))
}
