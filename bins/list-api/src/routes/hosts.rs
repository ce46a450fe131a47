//! `/v1/hosts/{host}/…`: who is on which page, what rises, and how it was before.

use std::str::FromStr;

use actix_web::{HttpResponse, web::Data};
use mayfly_core::{Clock, Host, PagePath, SystemClock, Timestamp, Window, limits};
use mayfly_http::{Code, NoQuery, PathName, Problem, Query};
use serde::{Deserialize, Deserializer, de};

use crate::{hosts::Hosts, problems::invalid_name};

/// The parameter of what rises.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RisingParameters {
    #[serde(default, deserialize_with = "parsed")]
    window: Option<Window>,
}

/// The parameters of the history of a page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryParameters {
    path: PagePath,
    #[serde(default, deserialize_with = "parsed")]
    from: Option<Timestamp>,
    #[serde(default, deserialize_with = "parsed")]
    to: Option<Timestamp>,
}

/// Lists the visitors of a host's top pages, counted when asked.
pub async fn list_pages(
    hosts: Data<Hosts>,
    name: PathName,
    _: NoQuery,
) -> Result<HttpResponse, Problem> {
    Ok(json(hosts.list_pages(&host(name)?).await?))
}

/// Lists the pages of a host, those that rise first.
pub async fn list_rising(
    hosts: Data<Hosts>,
    name: PathName,
    parameters: Query<RisingParameters>,
) -> Result<HttpResponse, Problem> {
    let window = parameters.0.window.unwrap_or(Window::FiveSeconds);
    Ok(json(hosts.list_rising(host(name)?, window).await?))
}

/// Shows how the visitors of a page rose and fell.
pub async fn get_history(
    hosts: Data<Hosts>,
    name: PathName,
    parameters: Query<HistoryParameters>,
) -> Result<HttpResponse, Problem> {
    let host = host(name)?;
    let HistoryParameters { path, from, to } = parameters.0;
    let to = to.unwrap_or_else(|| SystemClock.now());
    let from = from.unwrap_or_else(|| to.before(limits::HISTORY_DEFAULT));
    let wrong = |rule| Err(Problem::new(Code::InvalidField).field("from", rule));
    if from > to {
        return wrong("must not be after to");
    }
    if to.since(from) > limits::HOURS_KEPT_FOR {
        return wrong("must be at most 400 days before to");
    }
    Ok(HttpResponse::Ok().json(hosts.list_history(&host, path, from, to).await?))
}

fn host(name: PathName) -> Result<Host, Problem> {
    Host::parse(name.0).map_err(|rule| invalid_name("host", rule))
}

fn json(body: bytes::Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body)
}

/// A value as it is written in a query.
fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err = &'static str>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}
