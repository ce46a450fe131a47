//! The S3 object that contains the statistics snapshot.

use std::{pin::Pin, sync::Arc, time::Duration};

use aws_sdk_s3::{
    presigning::PresigningConfig,
    primitives::ByteStream,
    types::{BucketLocationConstraint, CreateBucketConfiguration},
};
use bytes::Bytes;
use mayfly_runtime::settings;
use tokio::time::{Instant, timeout};
use tracing::info;

use crate::{
    error::{Failure, S3Error, format_chain},
    session::{Session, Sessions},
};

/// The lifetime of a presigned URL, unless the credentials expire earlier.
pub const URL_LIFETIME: Duration = Duration::from_secs(300);

/// The future that a method of [`SnapshotStore`] returns.
///
/// The future is boxed so that only this crate compiles the SDK's generic code. If the methods were
/// `async fn`, each crate that awaits them would compile the code again.
pub type S3Future<'a, T> = Pin<Box<dyn Future<Output = Result<T, S3Error>> + Send + 'a>>;

/// The snapshot in S3. Clones share the connections and the credentials. Both are set up on first
/// use.
#[derive(Clone)]
pub struct SnapshotStore {
    inner: Arc<Inner>,
}

struct Inner {
    bucket: String,
    key: String,
    cache_control: String,
    sessions: Sessions,
}

/// A URL that allows anyone to read the snapshot.
#[derive(Debug, Clone)]
pub struct SignedUrl {
    /// The URL.
    pub url: String,
    /// The time when the URL or the credentials expire, whichever is earlier.
    pub expires_at: Instant,
}

impl SnapshotStore {
    /// Creates the store for the configured bucket and key.
    #[must_use]
    pub fn new(settings: &settings::StatsSettings) -> Self {
        let inner = Inner {
            bucket: settings.bucket.clone(),
            key: settings.key.clone(),
            cache_control: format!("max-age={}", settings.interval.as_secs()),
            sessions: Sessions::new(&settings.public_endpoint),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Uploads the snapshot. Creates the bucket if it does not exist. Waits for at most `deadline`,
    /// but S3 may still complete an upload that timed out.
    pub fn put(&self, json: Bytes, deadline: Duration) -> S3Future<'_, ()> {
        Box::pin(async move {
            let outcome = timeout(deadline, self.put_or_create_bucket(json)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(timeout_error(deadline)));
            self.reload_if_rejected(outcome).await
        })
    }

    async fn put_or_create_bucket(&self, json: Bytes) -> Result<(), S3Error> {
        let session = self.inner.sessions.get().await?;
        match self.put_object(&session, json.clone()).await {
            Err(failure) if failure.is_code(&["NoSuchBucket"]) => {
                self.create_bucket(&session).await?;
                Ok(self.put_object(&session, json).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    async fn put_object(&self, session: &Session, json: Bytes) -> Result<(), Failure> {
        let put = session
            .client
            .put_object()
            .bucket(&self.inner.bucket)
            .key(&self.inner.key)
            .content_type("application/json")
            .cache_control(&self.inner.cache_control)
            .body(ByteStream::from(json));
        put.send().await.map(drop).map_err(|error| Failure::from_sdk(&error))
    }

    async fn create_bucket(&self, session: &Session) -> Result<(), S3Error> {
        let location = session.location.as_deref().map(|region| {
            let region = BucketLocationConstraint::from(region);
            CreateBucketConfiguration::builder().location_constraint(region).build()
        });
        let create = session
            .client
            .create_bucket()
            .bucket(&self.inner.bucket)
            .set_create_bucket_configuration(location);
        match create.send().await.map_err(|error| Failure::from_sdk(&error)) {
            Ok(_) => info!(s3.bucket = self.inner.bucket, "created the bucket"),
            Err(failure) if failure.is_code(&CREATED_CONCURRENTLY) => {}
            Err(failure) if failure.is_code(&["AccessDenied"]) => {
                let bucket = &self.inner.bucket;
                let why =
                    format!("the bucket {bucket} does not exist, and creating it is not allowed");
                return Err(S3Error::Rejected(why));
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(())
    }

    /// Checks that S3 responds and accepts the credentials. Reads one byte of the object, but
    /// neither the object nor permission to read it is required. Returns false if the object is
    /// known to be missing.
    pub fn check(&self) -> S3Future<'_, bool> {
        Box::pin(async {
            let outcome = self.read_byte(&AUTHENTICATED).await;
            self.reload_if_rejected(outcome).await
        })
    }

    /// Checks that a client with a presigned URL can read the object. Returns false if the object
    /// is known to be missing. Without permission to list the bucket, S3 responds to the read of a
    /// missing object with `AccessDenied`, and this function returns an error.
    pub fn check_readable(&self) -> S3Future<'_, bool> {
        Box::pin(async {
            let outcome = self.read_byte(&EMPTY).await;
            self.reload_if_rejected(outcome).await
        })
    }

    async fn read_byte(&self, accepted: &[&str]) -> Result<bool, S3Error> {
        let session = self.inner.sessions.get().await?;
        let get = session.client.get_object().bucket(&self.inner.bucket).key(&self.inner.key);
        match get.range("bytes=0-0").send().await.map_err(|error| Failure::from_sdk(&error)) {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_code(&MISSING) => Ok(false),
            Err(failure) if failure.is_code(accepted) => Ok(true),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Returns a presigned URL for the object. The URL is valid for [`URL_LIFETIME`] or until the
    /// credentials expire, whichever is earlier. Does not call S3.
    ///
    /// # Panics
    /// Never, because the lifetime is within the limits of the protocol.
    pub fn sign_url(&self) -> S3Future<'_, SignedUrl> {
        Box::pin(async {
            let session = self.inner.sessions.get().await?;
            let expires_at = Instant::now() + session.cap(URL_LIFETIME);
            let get = session.signer.get_object().bucket(&self.inner.bucket).key(&self.inner.key);
            let config = PresigningConfig::expires_in(URL_LIFETIME);
            let config = config.expect("invariant: the lifetime is less than a week");
            let signed = get.presigned(config).await;
            let signed = signed.map_err(|error| S3Error::Other(format_chain(&error)))?;
            Ok(SignedUrl { url: signed.uri().to_owned(), expires_at })
        })
    }

    /// Returns the location of the object, for logs.
    #[must_use]
    pub fn location(&self) -> String {
        format!("s3://{}/{}", self.inner.bucket, self.inner.key)
    }

    /// Discards the session if S3 rejected this call, so that the next call reloads the
    /// credentials.
    async fn reload_if_rejected<T>(&self, outcome: Result<T, S3Error>) -> Result<T, S3Error> {
        if matches!(outcome, Err(S3Error::Rejected(_))) {
            self.inner.sessions.reset().await;
        }
        outcome
    }
}

/// Codes that mean that the bucket exists or that another process is creating it.
const CREATED_CONCURRENTLY: [&str; 3] =
    ["BucketAlreadyOwnedByYou", "BucketAlreadyExists", "OperationAborted"];
/// Codes for a missing object or bucket. S3 returns these codes only after it has accepted the
/// credentials.
const MISSING: [&str; 2] = ["NoSuchKey", "NoSuchBucket"];
/// Other codes that S3 returns only after it has accepted the credentials.
const AUTHENTICATED: [&str; 2] = ["AccessDenied", "InvalidRange"];
/// The code for an object without content.
const EMPTY: [&str; 1] = ["InvalidRange"];

fn timeout_error(deadline: Duration) -> S3Error {
    S3Error::Timeout(format!("no response within {deadline:?}"))
}
