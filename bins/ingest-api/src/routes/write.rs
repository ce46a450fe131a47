//! `GET` and `POST /message/write/`: accept a message in the query or in a form.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, dev::Payload, http::StatusCode, web::Data,
};
use mayfly_core::{NewMessage, message::WriteForm};
use mayfly_http::{Body, Problem, Query, UnreadBody};

use super::{body::read_form, response::message_response};
use crate::{
    client_identity::ClientIdentity, messages::MessageIngestion, problems::invalid_input,
    rights::authorize_message,
};

/// The name of the route, for idempotency keys.
const ROUTE: &str = "write";

/// Accepts a message from the query.
pub async fn get_write(
    messages: Data<MessageIngestion>,
    client: ClientIdentity,
    request: HttpRequest,
    form: Query<WriteForm>,
) -> Result<HttpResponse, Problem> {
    let query = request.query_string().as_bytes();
    messages.check(&client, query.len())?;
    accept_form(&messages, client, form.0, query, None).await
}

/// Accepts a message from the query or, if the query is empty, from the form in the body.
pub async fn post_write(
    messages: Data<MessageIngestion>,
    client: ClientIdentity,
    request: HttpRequest,
    body: UnreadBody,
) -> Result<HttpResponse, Problem> {
    let query = request.query_string();
    if query.is_empty() {
        let body = read_form(body, |bytes| messages.check(&client, bytes)).await?;
        accept_form(&messages, client, body.parse_form()?, b"", Some(body)).await
    } else {
        let form = Query::from_request(&request, &mut Payload::None).await?;
        messages.check(&client, query.len())?;
        accept_form(&messages, client, form.0, query.as_bytes(), None).await
    }
}

/// Accepts the message in `form`, which was parsed from `body` or, if there is none, from `query`.
async fn accept_form(
    messages: &MessageIngestion,
    client: ClientIdentity,
    form: WriteForm,
    query: &[u8],
    body: Option<Body>,
) -> Result<HttpResponse, Problem> {
    let mut new = NewMessage::from_write_form(form).map_err(invalid_input)?;
    authorize_message(client.identity(), &mut new)?;
    let payload = body.as_ref().map_or(query, |body| &body.bytes[..]);
    let context = client.into_context(ROUTE, payload);
    let accepted = messages.accept(new, context, body).await?;
    let location = messages.message_url("/v1/messages/", accepted.message.id);
    Ok(message_response(StatusCode::ACCEPTED, location, &accepted))
}
