//! What calls to S3 are made with: clients with the credentials of the moment, read again in time.

use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_sdk_s3::{
    Client,
    config::{
        RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::tls;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tracing::debug;

use crate::{
    credentials::{find_credentials, find_endpoint, find_region, missing, region_chain},
    error::S3Error,
};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one attempt of a call may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a call may take with all its attempts.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(4_500);
/// Attempts of a call; who calls tries on anyway.
const ATTEMPTS_MAX: u32 = 2;
/// How long reading the credentials may take: some sources are asked over the network.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// Credentials are read again when they are so old, to follow a file that was changed,
const READ_AGAIN: Duration = Duration::from_secs(300);
/// or end so soon: what is signed with them ends with them.
const LIFE_LEFT_MIN: Duration = Duration::from_secs(900);
/// But not more often than this, however soon they end.
const READ_PAUSE: Duration = Duration::from_secs(30);

/// Keeps a session, and opens a new one in time.
pub(crate) struct Sessions {
    http: SharedHttpClient,
    /// Where callers reach S3; empty is the endpoint.
    public_endpoint: String,
    present: Mutex<Option<Session>>,
}

/// Clients with the credentials of a moment.
#[derive(Clone)]
pub(crate) struct Session {
    /// Calls S3.
    pub(crate) client: Client,
    /// Signs for callers, who may reach S3 elsewhere.
    pub(crate) signer: Client,
    /// Where a bucket is made; none is the first region, which must not be named.
    pub(crate) location: Option<String>,
    read_at: Instant,
    expires_at: Option<SystemTime>,
}

impl Sessions {
    /// Prepares; nothing is read or connected yet.
    pub(crate) fn new(public_endpoint: &str) -> Self {
        let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        Self {
            http: aws_smithy_http_client::Builder::new().tls_provider(ring).build_https(),
            public_endpoint: public_endpoint.to_owned(),
            present: Mutex::new(None),
        }
    }

    /// The present session; a new one if that is due. Where none can be opened, the present one
    /// goes on as long as its credentials last.
    pub(crate) async fn get(&self) -> Result<Session, S3Error> {
        let mut present = self.present.lock().await;
        if let Some(session) = present.as_ref().filter(|session| !session.is_due()) {
            return Ok(session.clone());
        }
        let opened = timeout(CREDENTIALS_TIMEOUT, self.open()).await;
        let opened = opened.unwrap_or_else(|_| {
            Err(S3Error::NoCredentials(missing("their source did not answer in time")))
        });
        match opened {
            Ok(session) => Ok(present.insert(session).clone()),
            Err(error) => match present.as_mut().filter(|session| session.is_usable()) {
                Some(session) => {
                    debug!(%error, "credentials cannot be read again now");
                    session.read_at = Instant::now();
                    Ok(session.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Has the credentials read again at the next call: these were refused.
    pub(crate) async fn forget(&self) {
        *self.present.lock().await = None;
    }

    async fn open(&self) -> Result<Session, S3Error> {
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .region(region_chain(&self.http))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .timeout_config(timeouts())
            // The newer checksums are refused by some stores, and would be part of what is signed.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .load()
            .await;
        let endpoint = find_endpoint(&sdk);
        let region = find_region(&sdk, endpoint.as_deref())?;
        let credentials = find_credentials(&sdk).await?;
        let expires_at = credentials.expiry();
        let location = Some(region.to_string());
        let config = aws_sdk_s3::config::Builder::from(&sdk)
            .region(region)
            .credentials_provider(credentials);
        let to = |endpoint: Option<String>| {
            let mut config = config.clone();
            config.set_force_path_style(Some(endpoint.is_some()));
            config.set_endpoint_url(endpoint);
            Client::from_conf(config.build())
        };
        let public = Some(self.public_endpoint.clone()).filter(|endpoint| !endpoint.is_empty());
        Ok(Session {
            signer: to(public.or_else(|| endpoint.clone())),
            location: location.filter(|region| region != "us-east-1"),
            client: to(endpoint),
            read_at: Instant::now(),
            expires_at,
        })
    }
}

impl Session {
    fn is_due(&self) -> bool {
        let age = self.read_at.elapsed();
        let ends_soon = self.life_left().is_some_and(|left| left < LIFE_LEFT_MIN);
        age >= READ_AGAIN || (ends_soon && age >= READ_PAUSE)
    }

    fn is_usable(&self) -> bool {
        self.life_left().is_none_or(|left| !left.is_zero())
    }

    /// How long what is signed now for so long is good: it ends with the credentials.
    pub(crate) fn cap(&self, lasting: Duration) -> Duration {
        cap(lasting, self.life_left())
    }

    /// How long the credentials last; none if they do not end.
    fn life_left(&self) -> Option<Duration> {
        life_left(self.expires_at, SystemTime::now())
    }
}

fn cap(lasting: Duration, life_left: Option<Duration>) -> Duration {
    life_left.map_or(lasting, |left| left.min(lasting))
}

fn life_left(expires_at: Option<SystemTime>, now: SystemTime) -> Option<Duration> {
    let left = expires_at?.duration_since(now);
    Some(left.unwrap_or(Duration::ZERO))
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTING: Duration = Duration::from_secs(300);

    fn capped(expires_in: Option<i64>) -> Duration {
        let now = SystemTime::now();
        let expires_at = expires_in.map(|seconds| {
            let away = Duration::from_secs(seconds.unsigned_abs());
            if seconds < 0 { now - away } else { now + away }
        });
        cap(LASTING, life_left(expires_at, now))
    }

    #[test]
    fn what_is_signed_ends_with_the_credentials() {
        assert_eq!(capped(Some(40)), Duration::from_secs(40));
        assert_eq!(capped(Some(-1)), Duration::ZERO);
    }

    #[test]
    fn credentials_that_last_longer_or_for_ever_take_nothing_away() {
        assert_eq!(capped(Some(301)), LASTING);
        assert_eq!(capped(None), LASTING);
    }
}
