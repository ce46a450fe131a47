//! `GET` and `POST /message/write/`: a message as a query or a form.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use mayfly_core::{NewMessage, new_message::WriteForm};
use mayfly_http::{FormBody, Problem, Query};

use super::accepted;
use crate::{
    ingest::{Caller, Ingest},
    problems::of_refusal,
};

/// Accepts a message from the query.
pub async fn get_write(
    ingest: Data<Ingest>,
    caller: Caller,
    form: Query<WriteForm>,
) -> Result<HttpResponse, Problem> {
    write(&ingest, &caller, form.0).await
}

/// Accepts a message from the query, or, where that is empty, from a form.
pub async fn post_write(
    ingest: Data<Ingest>,
    caller: Caller,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let mut payload = payload.into_inner();
    let form = if request.query_string().is_empty() {
        FormBody::from_request(&request, &mut payload).await?.parse()?
    } else {
        Query::from_request(&request, &mut payload).await?.0
    };
    write(&ingest, &caller, form).await
}

async fn write(ingest: &Ingest, caller: &Caller, form: WriteForm) -> Result<HttpResponse, Problem> {
    let new = NewMessage::from_write_form(form).map_err(of_refusal)?;
    let done = ingest.accept(new, caller).await?;
    let location = ingest.location(format_args!("/v1/messages/{}", done.message.id));
    Ok(accepted(StatusCode::ACCEPTED, location, done.json))
}
