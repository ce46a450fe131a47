//! `GET` and `POST /message/write/`: a message as a query or a form.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use mayfly_core::{NewMessage, new_message::WriteForm};
use mayfly_http::{FormBody, Problem, Query};

use super::accepted;
use crate::{ingest::Ingest, problems::of_refusal, sender::Sender};

/// Accepts a message from the query.
pub async fn get_write(
    ingest: Data<Ingest>,
    sender: Sender,
    request: HttpRequest,
    form: Query<WriteForm>,
) -> Result<HttpResponse, Problem> {
    write(&ingest, sender, request.query_string().as_bytes(), form.0).await
}

/// Accepts a message from the query, or, where that is empty, from a form.
pub async fn post_write(
    ingest: Data<Ingest>,
    sender: Sender,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let mut payload = payload.into_inner();
    let query = request.query_string();
    if query.is_empty() {
        let body = FormBody::from_request(&request, &mut payload).await?;
        write(&ingest, sender, &body.0, body.parse()?).await
    } else {
        let form = Query::from_request(&request, &mut payload).await?;
        write(&ingest, sender, query.as_bytes(), form.0).await
    }
}

/// Accepts a form that was written so.
async fn write(
    ingest: &Ingest,
    sender: Sender,
    written: &[u8],
    form: WriteForm,
) -> Result<HttpResponse, Problem> {
    let new = NewMessage::from_write_form(form).map_err(of_refusal)?;
    let done = ingest.accept(new, sender.sending("write", written)).await?;
    let location = ingest.location(format_args!("/v1/messages/{}", done.message.id));
    Ok(accepted(StatusCode::ACCEPTED, location, &done))
}
