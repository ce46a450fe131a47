//! The call itself: one GET of a service that answers like Chartbeat.

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
use mayfly_core::{Clock, Host, SystemClock};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use tracing::{debug, warn};

use super::{
    pages::{Pages, read_pages},
    quota::find_pause,
};

/// How long a call may take, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an answer.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The path of the first form; a configured URL that has it already is used as it is.
const PATH: &str = "/live/toppages";
/// What need not be encoded in a query (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the service said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// The visitors of the pages.
    Pages(Pages),
    /// 4xx.
    Refused {
        /// Whether another key might be taken: 401 and 403.
        is_for_key: bool,
    },
    /// 429.
    Limited,
    /// Nothing of use: another status, garbage, silence, no connection.
    Nothing,
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// What the service said.
    pub said: Said,
    /// How long it wants to be left alone, if it does.
    pub pause: Option<Duration>,
}

/// The service. Connections are kept for the next call.
pub struct Chartbeat {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    /// Everything before the query.
    place: String,
}

impl Chartbeat {
    /// At this URL, as it is configured.
    pub fn new(url: &str) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config())
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, place: place(url) }
    }

    /// Asks for the top pages of a host. Nothing of the key, and so not the URL, is ever logged.
    pub async fn call(&self, host: &Host, key: &str) -> Reply {
        let url = format!("{}?{}", self.place, query(host, key));
        let Ok(uri) = url.parse::<Uri>() else { return failed(host, "the URL is none") };
        match tokio::time::timeout(TIMEOUT, self.get(uri, host)).await {
            Ok(reply) => reply,
            Err(_) => failed(host, "it did not answer in time"),
        }
    }

    async fn get(&self, uri: Uri, host: &Host) -> Reply {
        let request = Request::get(uri).header("accept", "application/json");
        let Ok(request) = request.body(Empty::new()) else {
            return failed(host, "the URL is none");
        };
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return failed(host, "it cannot be reached"),
            Err(_) => return failed(host, "it broke the connection"),
        };
        let status = answer.status();
        let pause = find_pause(status, answer.headers(), now());
        let said = match status {
            StatusCode::OK => {
                let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
                match body.ok().and_then(|body| read_pages(&body.to_bytes())) {
                    Some(pages) => Said::Pages(pages),
                    None => return Reply { pause, ..failed(host, "its answer is garbage") },
                }
            }
            StatusCode::TOO_MANY_REQUESTS => Said::Limited,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Said::Refused { is_for_key: true },
            status if status.is_client_error() => Said::Refused { is_for_key: false },
            _ => Said::Nothing,
        };
        if !matches!(said, Said::Pages(_)) {
            debug!(%host, status = status.as_u16(), "the source gave no pages");
        }
        Reply { said, pause }
    }
}

fn failed(host: &Host, reason: &'static str) -> Reply {
    debug!(%host, reason, "the source gave no pages");
    Reply { said: Said::Nothing, pause: None }
}

fn now() -> SystemTime {
    let millis = u64::try_from(SystemClock.now().as_millis()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

/// Everything before the query.
fn place(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let path = if url.contains(PATH) { "" } else { PATH };
    format!("{url}{path}/")
}

fn query(host: &Host, key: &str) -> String {
    let encode = |text| utf8_percent_encode(text, ENCODED);
    let limit = mayfly_core::limits::SAMPLE_PAGES_MAX;
    format!("apikey={}&host={}&limit={limit}", encode(key), encode(host.as_str()))
}

/// TLS with the certificates that this machine trusts; without any, only `http` can be used.
fn tls_config() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        warn!("this machine trusts no certificates: the source of visitors cannot be https");
    }
    let provider: CryptoProvider = rustls::crypto::ring::default_provider();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("invariant: the provider has the usual versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_is_asked_for_at_its_path_and_the_third_as_it_is_configured() {
        let first = "https://api.chartbeat.com/live/toppages/";
        assert_eq!(place("https://api.chartbeat.com"), first);
        assert_eq!(place("https://api.chartbeat.com/"), first);
        assert_eq!(place("https://api.chartbeat.com/live/toppages"), first);
        let third = "https://api.chartbeat.com/live/toppages/v3";
        assert_eq!(place(third), format!("{third}/"));
        assert_eq!(place(&format!("{third}/")), format!("{third}/"));
    }

    #[test]
    fn what_stands_in_the_query_is_encoded() {
        let host = Host::parse("a.org:80").expect("a host");
        let expected = "apikey=k%26x%3D%20%C3%A4&host=a.org%3A80&limit=100";
        assert_eq!(query(&host, "k&x= ä"), expected);
    }
}
