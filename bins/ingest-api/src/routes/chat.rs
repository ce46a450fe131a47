//! `POST /chat`.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use mayfly_core::NewMessage;
use mayfly_http::{JsonBody, NoQuery, Problem};

use super::{accepted, text};
use crate::{ingest::Ingest, problems::of_refusal, sender::Sender};

/// Accepts a message for somebody.
pub async fn post_chat(
    ingest: Data<Ingest>,
    sender: Sender,
    _: NoQuery,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = NewMessage::from_chat(text(&body.0)?).map_err(of_refusal)?;
    let done = ingest.accept(new, sender.sending("chat", &body.0)).await?;
    let location = ingest.location(format_args!("/chat/{}", done.message.id));
    Ok(accepted(StatusCode::CREATED, location, &done))
}
