//! `POST /v1/plays`.

use actix_web::{HttpResponse, web::Data};
use mayfly_core::play::parse_plays;
use mayfly_http::{JsonBody, NoQuery, Problem};
use serde::Serialize;

use super::text;
use crate::{plays::Plays, problems::of_refusal, sender::Sender};

#[derive(Serialize)]
struct AcceptedPlays {
    accepted: usize,
}

/// Accepts a play, or several: all of them or none.
pub async fn post_plays(
    plays: Data<Plays>,
    sender: Sender,
    _: NoQuery,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = parse_plays(text(&body.0)?).map_err(of_refusal)?;
    let accepted = new.len();
    let receipt = plays.accept(&new, sender.sending("plays", &body.0)).await?;
    let mut answer = HttpResponse::Accepted().json(AcceptedPlays { accepted });
    receipt.write_headers(answer.headers_mut());
    Ok(answer)
}
