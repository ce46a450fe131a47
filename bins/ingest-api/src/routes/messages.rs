//! `POST /v1/messages` and `POST /v1/messages/batch`.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use mayfly_core::{MessageId, NewMessage, batch};
use mayfly_http::{Format, JsonBody, NdjsonOrJsonBody, NoQuery, Problem};
use serde::Serialize;

use super::{accepted, text};
use crate::{ingest::Ingest, problems::of_refusal, sender::Sender};

/// Accepts one message.
pub async fn post_message(
    ingest: Data<Ingest>,
    sender: Sender,
    _: NoQuery,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = NewMessage::from_json(text(&body.0)?).map_err(of_refusal)?;
    let done = ingest.accept(new, sender.sending("messages", &body.0)).await?;
    let location = ingest.location(format_args!("/v1/messages/{}", done.message.id));
    Ok(accepted(StatusCode::ACCEPTED, location, &done))
}

#[derive(Serialize)]
struct AcceptedBatch {
    accepted: usize,
    ids: Vec<MessageId>,
}

/// Accepts a batch, all of it or nothing.
pub async fn post_messages(
    ingest: Data<Ingest>,
    sender: Sender,
    _: NoQuery,
    body: NdjsonOrJsonBody,
) -> Result<HttpResponse, Problem> {
    let items = text(&body.bytes)?;
    let new = match body.format {
        Format::Json => batch::parse_array(items),
        Format::Ndjson => batch::parse_lines(items),
    };
    let new = new.map_err(of_refusal)?;
    let sending = sender.sending("batch", &body.bytes);
    let (ids, receipt) = ingest.accept_all(new, sending).await?;
    let mut answer = HttpResponse::Accepted().json(AcceptedBatch { accepted: ids.len(), ids });
    receipt.write_headers(answer.headers_mut());
    Ok(answer)
}
