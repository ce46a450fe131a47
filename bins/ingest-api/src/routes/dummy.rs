//! `POST /dummy`.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use mayfly_core::NewMessage;
use mayfly_http::{JsonBody, NoQuery, Problem};

use super::{accepted, text};
use crate::{
    ingest::{Caller, Ingest},
    problems::of_refusal,
};

/// Accepts any JSON document.
pub async fn post_dummy(
    ingest: Data<Ingest>,
    caller: Caller,
    _: NoQuery,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = NewMessage::from_document(text(&body.0)?).map_err(of_refusal)?;
    let done = ingest.accept(new, &caller).await?;
    let location = ingest.location(format_args!("/v1/messages/{}", done.message.id));
    Ok(accepted(StatusCode::ACCEPTED, location, done.json))
}
