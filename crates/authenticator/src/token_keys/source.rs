//! The source of public keys: a file or a URL.

use std::{error::Error as _, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, StatusCode, Uri,
    header::{ACCEPT, HeaderValue},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mayfly_auth::JwkSetError;
use mayfly_runtime::settings::{AuthSettings, JwksFile};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use tokio::{fs::File, io::AsyncReadExt, time::timeout};

/// The interval between two readings of a file.
const FILE_INTERVAL: Duration = Duration::from_secs(10);
/// The interval between two requests to a URL.
const URL_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The timeout of a request, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The maximum size of a key set in bytes.
const BYTES_MAX: u64 = JwksFile::BYTES_MAX;

/// The source of public keys.
pub(super) enum Source {
    File(JwksFile),
    Url(Box<Endpoint>),
}

/// A URL with a key set, and the client that requests it.
pub(super) struct Endpoint {
    url: String,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// The reason why public keys cannot be refreshed. The texts contain neither the URL, which may
/// contain a secret, nor the content.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// The file cannot be read.
    #[error("cannot read auth.jwks_file: {0}")]
    File(#[source] io::Error),
    /// The URL is not one that the HTTP client accepts.
    #[error("the URL of auth.jwks_url is invalid")]
    Url,
    /// The request failed.
    #[error("cannot fetch auth.jwks_url: {0}")]
    Request(String),
    /// The response has another status than 200.
    #[error("cannot fetch auth.jwks_url: the response has the status {0}")]
    Status(u16),
    /// The content is not a usable key set.
    #[error(transparent)]
    Invalid(#[from] JwkSetError),
}

impl Source {
    /// Returns the configured source, if there is one.
    pub(super) fn new(settings: &AuthSettings) -> Option<Self> {
        if let Some(file) = &settings.jwks_file {
            return Some(Self::File(file.clone()));
        }
        let url = settings.jwks_url.clone();
        (!url.is_empty()).then(|| Self::Url(Box::new(Endpoint { url, client: create_client() })))
    }

    /// Returns the interval between two refreshes.
    pub(super) fn interval(&self) -> Duration {
        match self {
            Self::File(_) => FILE_INTERVAL,
            Self::Url(_) => URL_INTERVAL,
        }
    }

    /// Returns the content that is already in use.
    pub(super) fn initial_content(&self) -> Option<Bytes> {
        match self {
            Self::File(file) => Some(Bytes::copy_from_slice(file.content())),
            Self::Url(_) => None,
        }
    }

    /// Reads the key set.
    pub(super) async fn read(&self) -> Result<Bytes, SourceError> {
        match self {
            Self::File(file) => {
                read_file(file.path().into()).await.map(Bytes::from).map_err(SourceError::File)
            }
            Self::Url(endpoint) => match timeout(TIMEOUT, endpoint.fetch()).await {
                Ok(result) => result,
                Err(_) => Err(SourceError::Request("no complete response within 3 s".to_owned())),
            },
        }
    }
}

async fn read_file(path: PathBuf) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path).await?.take(BYTES_MAX + 1).read_to_end(&mut content).await?;
    Ok(content)
}

impl Endpoint {
    async fn fetch(&self) -> Result<Bytes, SourceError> {
        let uri: Uri = self.url.parse().map_err(|_| SourceError::Url)?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        let json = HeaderValue::from_static("application/json, application/jwk-set+json");
        request.headers_mut().insert(ACCEPT, json);
        let response = self.client.request(request).await.map_err(|error| describe(&error))?;
        if response.status() != StatusCode::OK {
            return Err(SourceError::Status(response.status().as_u16()));
        }
        let bytes_max = usize::try_from(BYTES_MAX).unwrap_or(usize::MAX);
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        let body = body.map_err(|error| SourceError::Request(error.to_string()))?;
        Ok(body.to_bytes())
    }
}

/// Returns the error with its innermost cause, such as a refused connection or an invalid
/// certificate.
fn describe(error: &legacy::Error) -> SourceError {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    SourceError::Request(cause.map_or_else(|| error.to_string(), ToString::to_string))
}

/// Creates a client that trusts the certificate authorities of the operating system.
fn create_client() -> Client<HttpsConnector<HttpConnector>, Empty<Bytes>> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls_config())
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

fn tls_config() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    // Without any certificate, requests fail, and the health component reports why.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider: CryptoProvider = rustls::crypto::ring::default_provider();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("invariant: the provider supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
