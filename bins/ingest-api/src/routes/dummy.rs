//! `POST /dummy`.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use mayfly_core::NewMessage;
use mayfly_http::{JsonBody, NoQuery, Problem};

use super::{accepted, text};
use crate::{ingest::Ingest, problems::of_refusal, sender::Sender};

/// Accepts any JSON document.
pub async fn post_dummy(
    ingest: Data<Ingest>,
    sender: Sender,
    _: NoQuery,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = NewMessage::from_document(text(&body.0)?).map_err(of_refusal)?;
    let done = ingest.accept(new, sender.sending("dummy", &body.0)).await?;
    let location = ingest.location(format_args!("/v1/messages/{}", done.message.id));
    Ok(accepted(StatusCode::ACCEPTED, location, &done))
}
