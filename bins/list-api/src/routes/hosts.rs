//! `/v1/hosts/{host}/…`: visitors to pages, rising pages, and the history of a page.

use std::str::FromStr;

use actix_web::{HttpResponse, web::Data};
use mayfly_auth::Access;
use mayfly_core::{Host, PagePath, Timestamp, Window, limits};
use mayfly_http::{CallerIdentity, Code, NoQuery, PathParam, Problem, Query};
use serde::{Deserialize, Deserializer, de};

use super::response::json_response;
use crate::{hosts::HostQueries, problems::invalid_name};

/// The parameters for the rising pages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RisingParameters {
    #[serde(default, deserialize_with = "deserialize_parsed")]
    window: Option<Window>,
}

/// The parameters for the history of a page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryParameters {
    path: PagePath,
    #[serde(default, deserialize_with = "deserialize_parsed")]
    from: Option<Timestamp>,
    #[serde(default, deserialize_with = "deserialize_parsed")]
    to: Option<Timestamp>,
}

/// Lists the top pages of a host with their current visitors.
pub async fn list_pages(
    hosts: Data<HostQueries>,
    identity: CallerIdentity,
    name: PathParam,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    Ok(json_response(hosts.list_pages(&authorize_host(&identity, name)?).await?))
}

/// Lists the pages of a host, highest score first.
pub async fn list_rising(
    hosts: Data<HostQueries>,
    identity: CallerIdentity,
    name: PathParam,
    parameters: Query<RisingParameters>,
) -> Result<HttpResponse, Problem> {
    let window = parameters.0.window.unwrap_or(Window::FiveSeconds);
    Ok(json_response(hosts.list_rising(authorize_host(&identity, name)?, window).await?))
}

/// Returns the hourly history of a page.
pub async fn get_history(
    hosts: Data<HostQueries>,
    identity: CallerIdentity,
    name: PathParam,
    parameters: Query<HistoryParameters>,
) -> Result<HttpResponse, Problem> {
    let host = authorize_host(&identity, name)?;
    let HistoryParameters { path, from, to } = parameters.0;
    let to = to.unwrap_or_else(|| hosts.now());
    let from = from.unwrap_or_else(|| to.minus(limits::HISTORY_DEFAULT));
    let invalid_from = |rule| Err(Problem::new(Code::InvalidField).field("from", rule));
    if from > to {
        return invalid_from("must not be after to");
    }
    if to.since(from) > limits::HOURLY_RETENTION {
        return invalid_from("must be at most 400 days before to");
    }
    Ok(HttpResponse::Ok().json(hosts.list_history(&host, path, from, to).await?))
}

/// Parses the host in the path and checks the right of the caller to the host.
fn authorize_host(identity: &CallerIdentity, name: PathParam) -> Result<Host, Problem> {
    let host = Host::parse(name.0).map_err(|rule| invalid_name("host", rule))?;
    identity.check(&Access::ReadHost { host: host.as_str() })?;
    Ok(host)
}

/// Deserializes a query parameter with its `FromStr` implementation.
fn deserialize_parsed<'de, D: Deserializer<'de>, T: FromStr<Err = &'static str>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}
