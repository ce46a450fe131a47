//! `GET` and `POST /message/write/`: accept a message in the query or in a form.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, dev::Payload, http::StatusCode, web::Data,
};
use mayfly_core::{NewMessage, message::WriteForm};
use mayfly_http::{Body, Problem, Query, UnreadBody};

use super::{body::read_form, response::message_response};
use crate::{
    client_identity::{ClientIdentity, WriteContext},
    messages::MessageIngestion,
    problems::invalid_input,
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
    accept_form(&messages, client.into_context(ROUTE, query), form.0, None).await
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
        let (form, context) = (body.parse_form()?, client.into_context(ROUTE, &body.bytes));
        accept_form(&messages, context, form, Some(body)).await
    } else {
        let form = Query::from_request(&request, &mut Payload::None).await?;
        messages.check(&client, query.len())?;
        accept_form(&messages, client.into_context(ROUTE, query.as_bytes()), form.0, None).await
    }
}

/// Accepts the message in `form`, which was parsed from the query or from `body`.
async fn accept_form(
    messages: &MessageIngestion,
    context: WriteContext,
    form: WriteForm,
    body: Option<Body>,
) -> Result<HttpResponse, Problem> {
    let new = NewMessage::from_write_form(form).map_err(invalid_input)?;
    let accepted = messages.accept(new, context, body).await?;
    let location = messages.message_url("/v1/messages/", accepted.message.id);
    Ok(message_response(StatusCode::ACCEPTED, location, &accepted))
}
