//! The page at `/docs/errors`, which the `type` of a problem refers to.

use std::fmt::Write;

use mayfly_runtime::{Service, settings::PublicSettings};

use super::Code;
use crate::routes;

/// The path of the page. Every public port serves it.
pub(super) const ERRORS_PATH: &str = routes::ERRORS.path;

/// Returns the URL of the page. The URL is absolute if the public URL of the service is set. A
/// relative URL would be wrong behind a proxy that serves the port under a path prefix.
pub(crate) fn errors_url(service: Service, public: &PublicSettings) -> String {
    let base = match service {
        Service::IngestApi => public.ingest_url.as_str(),
        Service::ListApi => public.list_url.as_str(),
        Service::WsFanout => public.live_url.as_str(),
        Service::PersistWorker | Service::StatsPublisher => "",
    };
    format!("{base}{ERRORS_PATH}")
}

/// Renders the page with one section per code. The ID of a section is its code.
pub(crate) fn render_error_page() -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Mayfly API errors</title>\n<h1>Mayfly API errors</h1>\n",
    );
    for code in Code::ALL {
        let (name, status, title) = (code.as_str(), code.status().as_u16(), code.title());
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "<section id=\"{name}\">\n<h2><code>{name}</code></h2>\n\
             <p><strong>{status} {title}.</strong> {}</p>\n</section>",
            explain(code)
        );
    }
    page
}

/// Returns the cause of problems with this code and the fix, as HTML.
#[expect(clippy::too_many_lines, reason = "one text per code")]
fn explain(code: Code) -> &'static str {
    match code {
        Code::InvalidJson => {
            "The request body is incomplete or not valid JSON, begins with a byte order mark, or \
             contains, outside <code>data</code>, a lone surrogate or a number that overflows a double. \
             <code>detail</code> describes the error and, if possible, its position. If items of a \
             batch are not valid JSON, <code>errors</code> names these items and describes each error. \
             Fix the body."
        }
        Code::InvalidField => {
            "A field, parameter or header is missing, is unknown or violates its rule, or the request \
             target contains a character that must be percent-encoded. For example, <code>data</code> \
             is invalid if it contains U+0000, a lone surrogate, a number that overflows a double, or more \
             than 64 levels of nesting. <code>errors</code> lists each field with its rule; in a batch, the \
             field is prefixed with the index of the item, as in <code>[3].text</code>."
        }
        Code::InvalidCursor => {
            "The cursor was not issued by this service, or was issued for a different \
             <code>order</code>. Pass the <code>next_cursor</code> of an earlier response unchanged, or \
             omit <code>cursor</code> to start at the beginning."
        }
        Code::UpstreamRefused => {
            "The Chartbeat-compatible source of visitor counts rejected the API key or the host. \
             Check both with the operator of the source."
        }
        Code::Unauthorized => {
            "The credentials are missing, malformed, unknown, expired or revoked. Send a valid API key or \
             token as <code>Authorization: Bearer</code>, or an API key as <code>X-API-Key</code>; \
             renew an expired token. <code>/api/v1.0/increasingconcurrents</code> returns this code if \
             <code>apikey</code> or <code>host</code> is missing or malformed, or if the key is not \
             valid for the host."
        }
        Code::Forbidden => {
            "The API key or the token does not grant the right to the request. Use other credentials, or ask \
             for a key with the scope and the patterns, or for a token with the claims, that the request \
             requires. This code is also returned if a page from an origin that is not allowed tried to \
             write, take or delete data, or to open an event stream, and if the request addresses a host \
             that is not allowed. The operator allows origins with <code>MAYFLY_HTTP__ALLOWED_ORIGINS</code> and \
             hosts with <code>MAYFLY_HTTP__ALLOWED_HOSTS</code>."
        }
        Code::NotFound => "The path or the resource does not exist. Check the path and the ID.",
        Code::MethodNotAllowed => {
            "The path exists but does not support the method. Use one of the methods in the \
             <code>Allow</code> header. Operators can disable some methods."
        }
        Code::NotAcceptable => {
            "The <code>Accept</code> header requests an API version that does not exist. Send \
             <code>application/json</code> or <code>application/json; version=1</code> (or \
             <code>version=1.0</code>)."
        }
        Code::RequestTimeout => {
            "The header section or the body of the request did not arrive within \
             <code>MAYFLY_HTTP__BODY_TIMEOUT</code>. Send the request again over a faster connection or \
             in smaller batches."
        }
        Code::InboxFull => {
            "The inbox of the user would contain more than <code>MAYFLY_INBOX__MESSAGES_MAX</code> \
             live messages. Take some of the messages, or wait until some expire."
        }
        Code::BodyTooLarge => {
            "The body is larger than the route accepts; <code>detail</code> names the limit. Send \
             less data per request."
        }
        Code::UnsupportedMediaType => {
            "The <code>Content-Type</code> is missing or unsupported, or the body has a \
             <code>Content-Encoding</code> other than <code>identity</code>. <code>detail</code> names \
             the expected type or encoding."
        }
        Code::IdempotencyKeyReused => {
            "The <code>Idempotency-Key</code> was already used with a different request. Use a new \
             key for a new request, and reuse a key only to repeat a request unchanged."
        }
        Code::UpgradeRequired => {
            "The path requires a WebSocket handshake with <code>Sec-WebSocket-Version: 13</code>."
        }
        Code::RateLimited => {
            "The request exceeds the remaining quota of the client, the client cannot add another host \
             with visitors, or more authentications from its address have failed than \
             <code>MAYFLY_LIMITS__AUTH_FAILURES</code> allows. Wait for the number of seconds in <code>Retry-After</code>. If the \
             request contains more items than the limit in <code>RateLimit-Policy</code>, also send \
             fewer items per request."
        }
        Code::Internal => {
            "An unexpected error occurred. Report the request ID in <code>instance</code> to the operator, \
             who can find the cause in the log."
        }
        Code::UpstreamFailed => {
            "Mayfly cannot verify the key, or has no list from the last 60 seconds, because the \
             Chartbeat-compatible source of visitor counts failed or timed out or because the limit on \
             requests to the source has been reached. Retry later."
        }
        Code::Unavailable => {
            "A dependency, such as Redis or Postgres, did not respond, or the requested data does not \
             exist yet. A write may have been executed. Retry the write with the same \
             <code>Idempotency-Key</code> after the number of seconds in <code>Retry-After</code>."
        }
        Code::Overloaded => {
            "A capacity limit has been reached, such as the depth of the queue, the number of \
             connections, or the number of pages or hosts with visitors. Nothing was written. Retry \
             after the number of seconds in <code>Retry-After</code>."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_one_section_per_code() {
        let page = render_error_page();
        for code in Code::ALL {
            let id = format!("id=\"{}\"", code.as_str());
            assert_eq!(page.matches(&id).count(), 1, "{id}");
        }
    }
}
