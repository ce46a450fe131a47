//! `/api/v1.0/increasingconcurrents`: the pages of a host that have more visitors than before.

use actix_web::{
    HttpResponse,
    http::header::{AGE, HeaderName},
    web::Data,
};
use mayfly_http::{ClientAddress, Problem, Query};
use serde::Deserialize;

use crate::{increasing::IncreaseQueries, problems::unauthorized};

/// The response header that marks a stale list: the source has failed since it returned the list.
const STALE: HeaderName = HeaderName::from_static("mayfly-stale");

/// The credential of the caller and the requested host.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    apikey: Option<String>,
    host: Option<String>,
}

/// Lists the pages with more visitors than in the previous sample, largest increase first.
pub async fn list_increases(
    queries: Data<IncreaseQueries>,
    client: ClientAddress,
    parameters: Query<Parameters>,
) -> Result<HttpResponse, Problem> {
    let Parameters { apikey: Some(api_key), host: Some(host) } = parameters.0 else {
        return Err(unauthorized());
    };
    let increases = queries.list_increases(&api_key, &host, &client).await?;
    let mut response = HttpResponse::Ok();
    if let Some(age) = increases.stale_age {
        response.insert_header((AGE, age.as_secs().to_string()));
        response.insert_header((STALE, "true"));
    }
    Ok(response.content_type("application/json").body(increases.json))
}
