//! S3 clients with the current credentials. Credentials are reloaded before they expire.

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
use mayfly_runtime::OutageLog;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{
    credentials::{describe_missing, find_credentials, find_endpoint, find_region, region_chain},
    error::S3Error,
};

/// The timeout for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The timeout for one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// The timeout for a call, including all attempts.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(4_500);
/// The maximum number of attempts per call. Callers also retry.
const ATTEMPTS_MAX: u32 = 2;
/// The timeout for loading the credentials, which may require network access.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// The age after which the next call reloads the credentials of a session. Changes to a credentials
/// file take effect with the reload.
const RELOAD_INTERVAL: Duration = Duration::from_secs(300);
/// The remaining lifetime below which credentials are reloaded. A presigned URL becomes invalid
/// when the credentials that signed it expire.
const REMAINING_LIFETIME_MIN: Duration = Duration::from_secs(900);
/// The minimum interval between two reloads of credentials that are about to expire.
const RELOAD_INTERVAL_MIN: Duration = Duration::from_secs(30);

/// The current session, with the settings for opening a new one.
pub(crate) struct Sessions {
    http: SharedHttpClient,
    /// The endpoint in presigned URLs. If empty, presigned URLs contain the endpoint of S3.
    public_endpoint: String,
    current: Mutex<Option<Session>>,
    /// The log for failed reloads while the current credentials are still valid.
    reload_outages: OutageLog,
}

/// Clients that share the same credentials.
#[derive(Clone)]
pub(crate) struct Session {
    /// The client for calls to S3.
    pub(crate) client: Client,
    /// The client that signs URLs, for the public endpoint if one is configured.
    pub(crate) signer: Client,
    /// The location constraint for a new bucket; `None` for us-east-1, which must not be specified.
    pub(crate) location: Option<String>,
    loaded_at: Instant,
    expires_at: Option<SystemTime>,
}

impl Sessions {
    /// Creates the sessions without loading credentials or connecting.
    pub(crate) fn new(public_endpoint: &str) -> Self {
        let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        Self {
            http: aws_smithy_http_client::Builder::new().tls_provider(ring).build_https(),
            public_endpoint: public_endpoint.to_owned(),
            current: Mutex::new(None),
            reload_outages: OutageLog::new(
                "reload the S3 credentials (the current ones stay in use)",
            ),
        }
    }

    /// Reloads the credentials if necessary, and returns the current session. If the reload fails,
    /// the previous session remains in use until its credentials expire. Returns an error if there
    /// is no usable session.
    pub(crate) async fn get(&self) -> Result<Session, S3Error> {
        let mut current = self.current.lock().await;
        if let Some(session) = current.as_ref().filter(|session| !session.is_due()) {
            return Ok(session.clone());
        }
        let opened = timeout(CREDENTIALS_TIMEOUT, self.open()).await;
        let opened = opened.unwrap_or_else(|_| {
            Err(S3Error::NoCredentials(describe_missing("their source did not respond in time")))
        });
        match opened {
            Ok(session) => {
                self.reload_outages.record_success();
                Ok(current.insert(session).clone())
            }
            Err(error) => match current.as_mut().filter(|session| session.is_usable()) {
                Some(session) => {
                    self.reload_outages.record_failure(&error);
                    session.loaded_at = Instant::now();
                    Ok(session.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Discards the current session, so that the next call reloads the credentials.
    pub(crate) async fn reset(&self) {
        *self.current.lock().await = None;
    }

    async fn open(&self) -> Result<Session, S3Error> {
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .region(region_chain(&self.http))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .timeout_config(timeouts())
            // The newer checksums would be part of the signature, and some stores reject them.
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
        let build_client = |endpoint: Option<String>| {
            let mut config = config.clone();
            config.set_force_path_style(Some(endpoint.is_some()));
            config.set_endpoint_url(endpoint);
            Client::from_conf(config.build())
        };
        let public = Some(self.public_endpoint.clone()).filter(|endpoint| !endpoint.is_empty());
        Ok(Session {
            signer: build_client(public.or_else(|| endpoint.clone())),
            location: location.filter(|region| region != "us-east-1"),
            client: build_client(endpoint),
            loaded_at: Instant::now(),
            expires_at,
        })
    }
}

impl Session {
    fn is_due(&self) -> bool {
        let age = self.loaded_at.elapsed();
        let expires_soon =
            self.remaining_lifetime().is_some_and(|left| left < REMAINING_LIFETIME_MIN);
        age >= RELOAD_INTERVAL || (expires_soon && age >= RELOAD_INTERVAL_MIN)
    }

    fn is_usable(&self) -> bool {
        self.remaining_lifetime().is_none_or(|left| !left.is_zero())
    }

    /// Limits a lifetime to the remaining lifetime of the credentials.
    pub(crate) fn cap(&self, lifetime: Duration) -> Duration {
        cap(lifetime, self.remaining_lifetime())
    }

    /// Returns the remaining lifetime of the credentials; `None` if they do not expire.
    fn remaining_lifetime(&self) -> Option<Duration> {
        remaining_lifetime(self.expires_at, SystemTime::now())
    }
}

fn cap(lifetime: Duration, remaining_lifetime: Option<Duration>) -> Duration {
    remaining_lifetime.map_or(lifetime, |left| left.min(lifetime))
}

fn remaining_lifetime(expires_at: Option<SystemTime>, now: SystemTime) -> Option<Duration> {
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

    const LIFETIME: Duration = Duration::from_secs(300);

    fn capped(expires_in: Option<i64>) -> Duration {
        let now = SystemTime::now();
        let expires_at = expires_in.map(|seconds| {
            let offset = Duration::from_secs(seconds.unsigned_abs());
            if seconds < 0 { now - offset } else { now + offset }
        });
        cap(LIFETIME, remaining_lifetime(expires_at, now))
    }

    #[test]
    fn lifetime_is_limited_by_the_credentials() {
        assert_eq!(capped(Some(40)), Duration::from_secs(40));
        assert_eq!(capped(Some(-1)), Duration::ZERO);
    }

    #[test]
    fn longer_lived_credentials_do_not_limit_the_lifetime() {
        assert_eq!(capped(Some(301)), LIFETIME);
        assert_eq!(capped(None), LIFETIME);
    }
}
