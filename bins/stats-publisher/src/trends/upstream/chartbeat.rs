//! The HTTP client of a service with the API of Chartbeat.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
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
/// The maximum size of a response body.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The path of the first API version. A configured URL that contains it is used unchanged.
const PATH: &str = "/live/toppages";
/// All characters except the unreserved ones (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The answer of the service.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The visitors of the pages.
    Pages(Pages),
    /// A status 4xx.
    Rejected {
        /// Whether another key could be accepted: 401 and 403.
        is_for_key: bool,
    },
    /// The status 429.
    RateLimited,
    /// Another status, an invalid body, a timeout or a connection error.
    Unusable,
}

/// The result of a call.
#[derive(Debug, PartialEq, Eq)]
pub struct CallResult {
    /// The answer of the service.
    pub answer: Answer,
    /// The pause that the service requests before the next call.
    pub pause: Option<Duration>,
}

/// A client of the service. It reuses connections.
pub struct Chartbeat {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    /// The URL without the query.
    base_url: String,
    /// The clock to which times in responses are compared.
    clock: Box<dyn Clock>,
    outages: OutageLog,
}

impl Chartbeat {
    /// Creates a client of the service at the configured URL.
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
        let request = Request::get(uri).header("accept", "application/json");
        let Ok(request) = request.body(Empty::new()) else {
            return self.unusable(host, "the URL is invalid");
        };
        let response = match self.client.request(request).await {
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
            // The key belongs to a caller, who must fix it.
            Answer::Rejected { .. } => {
                debug!(%host, status = status.as_u16(), "the source rejected a call");
            }
        }
        CallResult { answer, pause }
    }

    fn unusable(&self, host: &Host, reason: &'static str) -> CallResult {
        self.outages.record_failure(format_args!("{host}: {reason}"));
        CallResult { answer: Answer::Unusable, pause: None }
    }
}

fn to_system_time(at: Timestamp) -> SystemTime {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

/// Returns the URL without the query.
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

/// Returns a TLS configuration with the system's root certificates. Without any, only `http` works.
fn tls_config() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        warn!("stats-publisher found no trusted root certificates: HTTPS calls to the source fail");
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
    use super::*;

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
