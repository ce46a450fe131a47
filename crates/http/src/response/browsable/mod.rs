//! JSON responses as pages: a browser that opens an API URL receives a page that shows the request,
//! the response and related links. Other clients receive JSON.

mod highlight;
mod links;
mod page;

use std::{collections::HashMap, sync::Arc};

use actix_web::{
    HttpMessage,
    body::{BoxBody, MessageBody},
    dev::ServiceResponse,
    http::{
        Method,
        header::{
            CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue,
            REFERRER_POLICY, VARY,
        },
    },
};

use self::page::Page;
use super::accept::prefers_html;
use crate::request::Context;

/// The path of the style sheet, relative to the root of the service.
pub(crate) const STYLE_PATH: &str = "/docs/view.css";
pub(crate) const STYLE: &str = include_str!("view.css");

/// The content security policy: a page can load only its style sheet.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The URL fragments that identify the `GET` operations on the documentation page, by route. Only a
/// service that registers this data sends pages to browsers.
#[derive(Debug, Clone, Default)]
pub(crate) struct OperationFragments(pub(crate) Arc<HashMap<String, String>>);

/// Replaces a JSON response to `GET` or `HEAD` with a page if the client prefers HTML. Sets `Vary`
/// even if the client does not prefer HTML.
pub(crate) fn render_for_browser(
    mut response: ServiceResponse<BoxBody>,
) -> ServiceResponse<BoxBody> {
    let request = response.request();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read || !is_plain_json(&response) {
        return response;
    }
    let Some(fragments) = request.app_data::<OperationFragments>().cloned() else {
        return response;
    };
    let is_browser = prefers_html(request.headers());
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    if !is_browser {
        return response;
    }
    let (request, http) = response.into_parts();
    let (mut http, body) = http.into_parts();
    let json = match body.try_into_bytes() {
        Ok(json) if !json.is_empty() => json,
        Ok(empty) => return ServiceResponse::new(request, http.set_body(BoxBody::new(empty))),
        Err(streamed) => return ServiceResponse::new(request, http.set_body(streamed)),
    };
    let route = request.extensions().get::<Context>().and_then(Context::route);
    let page = Page {
        request: &request,
        status: http.status(),
        headers: http.headers(),
        json: &json,
        fragment: route.and_then(|route| fragments.0.get(route)).map(String::as_str),
    };
    let page = page.render();
    let headers = http.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    ServiceResponse::new(request, http.set_body(BoxBody::new(page)))
}

/// Returns whether the response is uncompressed JSON and not a file. Only files have an `ETag`.
fn is_plain_json(response: &ServiceResponse<BoxBody>) -> bool {
    let headers = response.headers();
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    matches!(kind, b"application/json" | b"application/problem+json")
        && !headers.contains_key(ETAG)
        && !headers.contains_key(CONTENT_ENCODING)
}
