//! `GET` and `POST /message/write/`: a message as a query or a form.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use mayfly_core::{NewMessage, message::WriteForm};
use mayfly_http::{FormBody, Problem, Query};

use super::response::message_response;
use crate::{client_identity::ClientIdentity, messages::MessageIngestion, problems::invalid_input};

/// Accepts a message from the query.
pub async fn get_write(
    messages: Data<MessageIngestion>,
    client: ClientIdentity,
    request: HttpRequest,
    form: Query<WriteForm>,
) -> Result<HttpResponse, Problem> {
    accept_form(&messages, client, request.query_string().as_bytes(), form.0).await
}

/// Accepts a message from the query or, if it is empty, from a form.
pub async fn post_write(
    messages: Data<MessageIngestion>,
    client: ClientIdentity,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let mut payload = payload.into_inner();
    let query = request.query_string();
    if query.is_empty() {
        let body = FormBody::from_request(&request, &mut payload).await?;
        accept_form(&messages, client, &body.0, body.parse()?).await
    } else {
        let form = Query::from_request(&request, &mut payload).await?;
        accept_form(&messages, client, query.as_bytes(), form.0).await
    }
}

/// Accepts the message in `form`, which was decoded from `payload`.
async fn accept_form(
    messages: &MessageIngestion,
    client: ClientIdentity,
    payload: &[u8],
    form: WriteForm,
) -> Result<HttpResponse, Problem> {
    let new = NewMessage::from_write_form(form).map_err(invalid_input)?;
    let accepted = messages.accept(new, client.into_context("write", payload)).await?;
    let location = messages.list_url(format_args!("/v1/messages/{}", accepted.message.id));
    Ok(message_response(StatusCode::ACCEPTED, location, &accepted))
}
