//! `POST /chat`.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use mayfly_core::NewMessage;
use mayfly_http::{NoQuery, Problem, UnreadBody};

use super::{
    body::{parse_utf8, read_json},
    response::message_response,
};
use crate::{
    client_identity::ClientIdentity, messages::MessageIngestion, problems::invalid_input,
    rights::authorize_message,
};

/// Accepts a message for a user.
pub async fn post_chat(
    messages: Data<MessageIngestion>,
    client: ClientIdentity,
    _: NoQuery,
    body: UnreadBody,
) -> Result<HttpResponse, Problem> {
    let body = read_json(body, |bytes| messages.check(&client, bytes)).await?;
    let mut new = NewMessage::from_chat(parse_utf8(&body.bytes)?).map_err(invalid_input)?;
    authorize_message(client.identity(), &mut new)?;
    let context = client.into_context("chat", &body.bytes);
    let accepted = messages.accept(new, context, Some(body)).await?;
    let location = messages.message_url("/chat/", accepted.message.id);
    Ok(message_response(StatusCode::CREATED, location, &accepted))
}
