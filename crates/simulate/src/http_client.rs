//! An HTTP client that uses the instances of a service in turn.
//!
//! The client is based on hyper-util, which the workspace already depends on. TLS is not supported,
//! because the services do not use TLS.

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Request, StatusCode, Uri, body::Incoming};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use mayfly_live_client::terminal::print_err;
use mayfly_live_client::{Credentials, KeyFile};
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The timeout for one attempt. The services time out after 10 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The maximum time from the first attempt to the start of the last retry.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// The minimum delay before a retry. Also the delay if the service does not specify a delay.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The maximum size of a response body, in bytes. A page has up to 4 MiB of items.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The maximum number of characters to quote from an error response that is not a problem document.
const QUOTED_CHARS: usize = 200;

/// A client of one service.
#[derive(Debug)]
pub(crate) struct HttpClient {
    client: Client<HttpConnector, Full<Bytes>>,
    urls: Vec<String>,
    next_url: usize,
    /// The credentials that every request contains; `None` for an anonymous client.
    credentials: Option<Credentials>,
    /// The time spent waiting before retries.
    pub(crate) wait_time: Duration,
    /// Canceled to stop retries. The request in progress still completes.
    stop: CancellationToken,
    /// The kinds of errors that have already been printed.
    printed_errors: HashSet<ErrorKind>,
}

/// A 2xx response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) body: Bytes,
    /// The time from sending the request to the last byte of the response, excluding earlier
    /// attempts.
    pub(crate) duration: Duration,
}

/// The status and code of a temporary error response; `None` for all other errors. Only the first
/// error of each kind is printed.
type ErrorKind = Option<(StatusCode, String)>;

/// The error for a failed request.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The service responded with status 429 or 503.
    Unavailable { status: StatusCode, code: String, detail: String, retry_after: Duration },
    /// The service responded with another status outside 2xx.
    Rejected { status: StatusCode, detail: String },
    /// The request was not sent, usually because the connection could not be established.
    NotConnected(String),
    /// The request may have been sent, but the outcome is unknown.
    NoResponse(String),
}

impl RequestError {
    /// Returns the delay before a retry; `None` if the request must not be retried. If the outcome
    /// is unknown, only an idempotent request is retried, because any other request could be
    /// processed twice.
    fn retry_delay(&self, is_idempotent: bool) -> Option<Duration> {
        if self.is_outcome_unknown() && !is_idempotent {
            return None;
        }
        match self {
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::NotConnected(_) | Self::NoResponse(_) => Some(RETRY_DELAY),
            Self::Rejected { .. } => None,
        }
    }

    /// Returns whether the service may have processed the request. A response with status 503
    /// excludes this only if its code is `overloaded`.
    pub(crate) fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Unavailable { status, code, .. } => {
                *status == StatusCode::SERVICE_UNAVAILABLE && code != "overloaded"
            }
            Self::NoResponse(_) => true,
            Self::Rejected { .. } | Self::NotConnected(_) => false,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable { status, code, .. } => Some((*status, code.clone())),
            Self::Rejected { .. } | Self::NotConnected(_) | Self::NoResponse(_) => None,
        }
    }
}

impl Display for RequestError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { status, detail, .. } | Self::Rejected { status, detail } => {
                write!(f, "the service returned {}: {detail}", status.as_u16())?;
                if *status == StatusCode::UNAUTHORIZED {
                    f.write_str("; use --key-file to send a valid API key or token")?;
                }
                Ok(())
            }
            Self::NotConnected(reason) => write!(f, "cannot connect: {reason}"),
            Self::NoResponse(reason) => write!(f, "no response: {reason}"),
        }
    }
}

/// The fields of a problem document that the client reads.
#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
}

impl HttpClient {
    pub(crate) fn new(
        urls: Vec<String>,
        key_file: Option<&KeyFile>,
        stop: CancellationToken,
    ) -> Result<Self> {
        for url in &urls {
            let is_http = url.strip_prefix("http://").is_some_and(|rest| !rest.is_empty());
            ensure!(
                is_http && url.parse::<Uri>().is_ok(),
                "invalid URL {url:?}: it must start with http://"
            );
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self {
            client,
            urls,
            next_url: 0,
            credentials: key_file.map(|file| file.credentials().clone()),
            wait_time: Duration::ZERO,
            stop,
            printed_errors: HashSet::new(),
        })
    }

    /// Sends a POST request with a JSON body, or a GET request without a body. Retries the request
    /// if the client cannot connect or the response has status 429 or 503. A POST request whose
    /// outcome is unknown is not retried.
    pub(crate) async fn send(
        &mut self,
        path: &str,
        json: Option<Bytes>,
    ) -> Result<Response, RequestError> {
        self.send_with_retries(None, path, json).await
    }

    /// Sends a POST request with a new idempotency key, so that the client can retry the request
    /// even if its outcome is unknown.
    pub(crate) async fn post_idempotent(
        &mut self,
        path: &str,
        json: Bytes,
    ) -> Result<Response, RequestError> {
        let key = Uuid::now_v7().to_string();
        self.send_with_retries(Some(&key), path, Some(json)).await
    }

    async fn send_with_retries(
        &mut self,
        key: Option<&str>,
        path: &str,
        json: Option<Bytes>,
    ) -> Result<Response, RequestError> {
        let is_idempotent = key.is_some() || json.is_none();
        let started = Instant::now();
        loop {
            let error = match self.send_once(key, path, json.clone()).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let delay = error.retry_delay(is_idempotent);
            let delay = delay.filter(|delay| started.elapsed() + *delay <= RETRY_TIMEOUT);
            let Some(delay) = delay else { return Err(error) };
            if self.stop.is_cancelled() {
                return Err(error);
            }
            if self.printed_errors.insert(error.kind()) {
                print_err(&format!("{error}; waiting for the service (up to {RETRY_TIMEOUT:?})"));
            }
            let wait_started = Instant::now();
            let is_stopped = self.stop.run_until_cancelled(sleep(delay)).await.is_none();
            self.wait_time += wait_started.elapsed();
            if is_stopped {
                return Err(error);
            }
        }
    }

    async fn send_once(
        &mut self,
        key: Option<&str>,
        path: &str,
        json: Option<Bytes>,
    ) -> Result<Response, RequestError> {
        let url = &self.urls[self.next_url % self.urls.len()];
        self.next_url += 1;
        let mut request = match &json {
            Some(_) => {
                Request::post(format!("{url}{path}")).header(CONTENT_TYPE, "application/json")
            }
            None => Request::get(format!("{url}{path}")),
        };
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(credentials) = &self.credentials {
            request = request.header(AUTHORIZATION, credentials.header().clone());
        }
        let request = request.body(json.map(Full::new).unwrap_or_default());
        let request = request.map_err(|error| RequestError::NotConnected(error.to_string()))?;
        let started = Instant::now();
        let response = timeout(REQUEST_TIMEOUT, async {
            let response = self.client.request(request).await.map_err(|error| {
                let is_connect = error.is_connect();
                // The outer error names only the kind of failure. `{:#}` adds the cause.
                let reason = format!("{url}: {:#}", anyhow::Error::new(error));
                if is_connect {
                    RequestError::NotConnected(reason)
                } else {
                    RequestError::NoResponse(reason)
                }
            })?;
            read_response(response, started).await
        });
        response.await.unwrap_or_else(|_| {
            Err(RequestError::NoResponse(format!("{url}: timeout after {REQUEST_TIMEOUT:?}")))
        })
    }
}

async fn read_response(
    response: hyper::Response<Incoming>,
    started: Instant,
) -> Result<Response, RequestError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await;
    let body = body.map_err(|error| RequestError::NoResponse(error.to_string()))?.to_bytes();
    let status = head.status;
    if status.is_success() {
        return Ok(Response { body, duration: started.elapsed() });
    }
    let problem = serde_json::from_slice::<Problem>(&body).ok();
    let detail: String = match &problem {
        Some(problem) => format!("{} {}", problem.code, problem.detail),
        None => String::from_utf8_lossy(&body).chars().take(QUOTED_CHARS).collect(),
    };
    let code = problem.map(|problem| problem.code).unwrap_or_default();
    // The text is printed to a terminal, which could interpret control characters.
    let detail = detail.chars().filter(|character| !character.is_control()).collect();
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        let seconds =
            head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = seconds.map_or(RETRY_DELAY, Duration::from_secs).max(RETRY_DELAY);
        return Err(RequestError::Unavailable { status, code, detail, retry_after });
    }
    Err(RequestError::Rejected { status, detail })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Accepts one connection per response and returns the idempotency keys of the requests. If a
    /// response is empty, closes the connection without a response.
    async fn serve(listener: TcpListener, responses: &[&str]) -> Vec<Option<String>> {
        let mut keys = Vec::new();
        for response in responses {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            let is_complete = |request: &[u8]| {
                let end: &[u8] = if request.starts_with(b"GET ") { b"" } else { b"{}" };
                request.strip_suffix(end).is_some_and(|head| head.ends_with(b"\r\n\r\n"))
            };
            while !is_complete(&request) {
                assert!(stream.read_buf(&mut request).await.expect("bytes") > 0);
            }
            let request = String::from_utf8(request).expect("valid UTF-8");
            let key = request.lines().find_map(|line| line.strip_prefix("idempotency-key: "));
            keys.push(key.map(str::to_owned));
            stream.write_all(response.as_bytes()).await.expect("sent");
        }
        keys
    }

    fn new_client(url: String) -> HttpClient {
        HttpClient::new(vec![url], None, CancellationToken::new()).expect("a valid URL")
    }

    const ACCEPTED: &str =
        "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn only_a_request_with_a_key_is_retried_if_there_is_no_response() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(serve(listener, &["", ACCEPTED, ""]));
        let mut client = new_client(url);
        let json = Bytes::from_static(b"{}");
        client.post_idempotent("/", json.clone()).await.expect("the retry succeeds");
        let error = client.send("/", Some(json)).await.expect_err("no response");
        assert!(matches!(error, RequestError::NoResponse(_)), "{error:?}");
        let keys = server.await.expect("the server does not panic");
        assert!(keys[0].is_some() && keys[0] == keys[1] && keys[2].is_none(), "{keys:?}");
    }

    #[tokio::test]
    async fn post_without_a_key_is_retried_only_if_it_was_certainly_not_processed() {
        let problem = |code: &str| {
            let body = format!(r#"{{"code":"{code}"}}"#);
            let length = body.len();
            let head = "HTTP/1.1 503 Service Unavailable\r\nconnection: close";
            format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}")
        };
        let (overloaded, unavailable) = (problem("overloaded"), problem("unavailable"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move {
            serve(listener, &[&overloaded, &unavailable, &unavailable, ACCEPTED]).await
        });
        let mut client = new_client(url);
        let json = Bytes::from_static(b"{}");
        let error = client.send("/", Some(json)).await.expect_err("the second response is final");
        assert!(error.is_outcome_unknown(), "{error:?}");
        client.send("/", None).await.expect("a GET request is retried");
        assert_eq!(server.await.expect("the server does not panic").len(), 4);
    }
}
