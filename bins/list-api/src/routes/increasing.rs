//! `/api/v1.0/increasingconcurrents`: the pages of a host that have more visitors than before.

use actix_web::{
    HttpResponse,
    http::header::{AGE, HeaderName},
    web::Data,
};
use mayfly_http::{Problem, Query};
use serde::Deserialize;

use crate::{increasing::Increasing, problems::unauthorized};

/// Says that the source failed since.
const STALE: HeaderName = HeaderName::from_static("mayfly-stale");

/// Who asks for which host.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    apikey: Option<String>,
    host: Option<String>,
}

/// Lists the pages with more visitors than in the sample before, the greatest change first.
pub async fn list_increases(
    increasing: Data<Increasing>,
    parameters: Query<Parameters>,
) -> Result<HttpResponse, Problem> {
    let Parameters { apikey: Some(api_key), host: Some(host) } = parameters.0 else {
        return Err(unauthorized());
    };
    let increases = increasing.list_increases(&api_key, &host).await?;
    let mut answer = HttpResponse::Ok();
    if let Some(age) = increases.stale_for {
        answer.insert_header((AGE, age.as_secs().to_string()));
        answer.insert_header((STALE, "true"));
    }
    Ok(answer.content_type("application/json").body(increases.json))
}
