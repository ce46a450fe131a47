//! An HTTP client for a service that implements the Chartbeat API.

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, StatusCode, Uri,
    header::{ACCEPT, HeaderValue},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        self,
        legacy::{Client, ResponseFuture, connect::HttpConnector},
    },
    rt::TokioExecutor,
};
use mayfly_core::{Clock, Host, Timestamp};
use mayfly_runtime::OutageLog;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use tracing::{debug, warn};

use super::{
    quota::find_pause,
    response::{Pages, parse_pages},
};

/// The timeout of a call, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The maximum size of a response body in bytes.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The path of version 1 of the API. The path is appended to a configured URL that does not contain
/// this path.
const PATH: &str = "/live/toppages";
/// The characters to percent-encode: all except the unreserved characters (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The answer from the service.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The visitors to the pages.
    Pages(Pages),
    /// A 4xx status other than 429.
    Rejected {
        /// Whether the status is 401 or 403, in which case another key could be accepted.
        is_for_key: bool,
    },
    /// A 429 status.
    RateLimited,
    /// Another status, an invalid URL or body, a timeout, or a connection error.
    Unusable,
}

/// The result of a call.
#[derive(Debug, PartialEq, Eq)]
pub struct CallResult {
    /// The answer from the service.
    pub answer: Answer,
    /// The pause that the service requests before the next call.
    pub pause: Option<Duration>,
}

/// A client for the service, which reuses connections.
pub struct Chartbeat {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    /// The URL of the API without the query.
    base_url: String,
    /// The clock for converting a date in a response header to a pause.
    clock: Box<dyn Clock>,
    outages: OutageLog,
}

impl Chartbeat {
    /// Creates a client for the service at the configured URL.
    pub fn new(url: &str, clock: impl Clock + 'static) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config())
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let outages = OutageLog::new("call the source of visitor counts");
        Self { client, base_url: base_url(url), clock: Box::new(clock), outages }
    }

    /// Requests the top pages of a host. The URL contains the key and is never logged.
    pub async fn call(&self, host: &Host, key: &str) -> CallResult {
        let url = format!("{}?{}", self.base_url, query(host, key));
        let Ok(uri) = url.parse::<Uri>() else { return self.unusable(host, "the URL is invalid") };
        match tokio::time::timeout(TIMEOUT, self.get(uri, host)).await {
            Ok(result) => result,
            Err(_) => self.unusable(host, "the call timed out"),
        }
    }

    async fn get(&self, uri: Uri, host: &Host) -> CallResult {
        let response = match self.send(&uri).await {
            // The service may close an idle connection just before it receives a request. A client
            // may then repeat the request (RFC 9112, section 9.3.1).
            Err(error) if is_closed(&error) => self.send(&uri).await,
            result => result,
        };
        let response = match response {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                return self.unusable(host, "the connection failed");
            }
            Err(_) => return self.unusable(host, "the connection was closed"),
        };
        let status = response.status();
        let pause = find_pause(status, response.headers(), to_system_time(self.clock.now()));
        let answer = match status {
            StatusCode::OK => {
                let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
                match body.ok().and_then(|body| parse_pages(&body.to_bytes())) {
                    Some(pages) => Answer::Pages(pages),
                    None => {
                        return CallResult {
                            pause,
                            ..self.unusable(host, "the response body is invalid")
                        };
                    }
                }
            }
            StatusCode::TOO_MANY_REQUESTS => Answer::RateLimited,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Answer::Rejected { is_for_key: true }
            }
            status if status.is_client_error() => Answer::Rejected { is_for_key: false },
            _ => Answer::Unusable,
        };
        match answer {
            Answer::Pages(_) => self.outages.record_success(),
            Answer::RateLimited | Answer::Unusable => {
                self.outages.record_failure(format_args!("{host}: status {}", status.as_u16()));
            }
            // A rejection is not an outage. The usual cause is the host or the key, which a caller
            // chose.
            Answer::Rejected { .. } => {
                debug!(%host, status = status.as_u16(), "the source rejected a call");
            }
        }
        CallResult { answer, pause }
    }

    fn send(&self, uri: &Uri) -> ResponseFuture {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        self.client.request(request)
    }

    fn unusable(&self, host: &Host, reason: &'static str) -> CallResult {
        self.outages.record_failure(format_args!("{host}: {reason}"));
        CallResult { answer: Answer::Unusable, pause: None }
    }
}

/// Returns whether an established connection was closed before a response arrived.
fn is_closed(error: &client::legacy::Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    !error.is_connect() && cause.is_some_and(|cause| !cause.is_parse())
}

fn to_system_time(at: Timestamp) -> SystemTime {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

/// Derives the URL of the API, without the query, from the configured URL.
fn base_url(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let path = if url.contains(PATH) { "" } else { PATH };
    format!("{url}{path}/")
}

fn query(host: &Host, key: &str) -> String {
    let encode = |text| utf8_percent_encode(text, ENCODED);
    let limit = mayfly_core::limits::SAMPLE_PAGES_MAX;
    format!("apikey={}&host={}&limit={limit}", encode(key), encode(host.as_str()))
}

/// Returns a TLS configuration with the system's root certificates. If there are none, logs a
/// warning, because only `http` URLs work then.
fn tls_config() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        warn!(
            "stats-publisher found no trusted root certificates; HTTPS calls to the source will fail"
        );
    }
    let provider: CryptoProvider = rustls::crypto::ring::default_provider();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("invariant: the provider supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use mayfly_core::SystemClock;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn accept_and_respond(listener: &TcpListener) -> TcpStream {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        assert!(connection.read(&mut [0; 4_096]).await.expect("a request") > 0);
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]";
        connection.write_all(response).await.expect("the connection is open");
        connection
    }

    /// Closes the first connection when it receives another request.
    async fn serve(listener: TcpListener) {
        let mut first = accept_and_respond(&listener).await;
        assert!(first.read(&mut [0; 4_096]).await.expect("a request") > 0);
        drop(first);
        let _second = accept_and_respond(&listener).await;
        std::future::pending::<()>().await;
    }

    #[tokio::test]
    async fn request_on_a_closed_connection_is_repeated() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        tokio::spawn(serve(listener));
        let client = Chartbeat::new(&format!("http://{address}"), SystemClock);
        let host = Host::parse("a.org").expect("a host");
        for _ in 0..2 {
            let result = client.call(&host, "key").await;
            assert!(matches!(result.answer, Answer::Pages(_)), "{result:?}");
            // The client's tasks run on this thread. They return the connection to the pool.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[test]
    fn path_is_added_to_a_url_without_it() {
        let first = "https://api.chartbeat.com/live/toppages/";
        assert_eq!(base_url("https://api.chartbeat.com"), first);
        assert_eq!(base_url("https://api.chartbeat.com/"), first);
        assert_eq!(base_url("https://api.chartbeat.com/live/toppages"), first);
        let third = "https://api.chartbeat.com/live/toppages/v3";
        assert_eq!(base_url(third), format!("{third}/"));
        assert_eq!(base_url(&format!("{third}/")), format!("{third}/"));
    }

    #[test]
    fn query_is_percent_encoded() {
        let host = Host::parse("a.org:80").expect("a host");
        let expected = "apikey=k%26x%3D%20%C3%A4&host=a.org%3A80&limit=100";
        assert_eq!(query(&host, "k&x= ä"), expected);
    }
}
