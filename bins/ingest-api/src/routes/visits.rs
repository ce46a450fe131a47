//! `POST /v1/visits`.

use actix_web::{HttpResponse, web::Data};
use mayfly_core::visit::parse_visits;
use mayfly_http::{JsonBody, NoQuery, Problem};
use serde::Serialize;

use super::text;
use crate::{problems::of_refusal, sender::Sender, visits::Visits};

#[derive(Serialize)]
struct AcceptedVisits {
    accepted: usize,
}

/// Accepts a visit, or several: all of them or none.
pub async fn post_visits(
    visits: Data<Visits>,
    sender: Sender,
    _: NoQuery,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = parse_visits(text(&body.0)?).map_err(of_refusal)?;
    let accepted = new.len();
    let receipt = visits.accept(new, sender.sending("visits", &body.0)).await?;
    let mut answer = HttpResponse::Accepted().json(AcceptedVisits { accepted });
    receipt.write_headers(answer.headers_mut());
    Ok(answer)
}
