//! The one object: the snapshot. It is written, looked at, and signed for.

use std::{sync::Arc, time::Duration};

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
    error::{Failure, S3Error, chain},
    session::{Session, Sessions},
};

/// How long a signed URL is good, unless what it is signed with ends before.
pub const SIGNED_FOR: Duration = Duration::from_secs(300);

/// The snapshot in S3. Cheap to clone; nothing is read or connected before the first call.
#[derive(Clone)]
pub struct S3 {
    inner: Arc<Inner>,
}

struct Inner {
    bucket: String,
    key: String,
    cache_control: String,
    sessions: Sessions,
}

/// A URL of the snapshot that anybody may read.
#[derive(Debug, Clone)]
pub struct SignedUrl {
    /// The URL.
    pub url: String,
    /// Until when it is good: its own end, or that of the credentials it is signed with.
    pub until: Instant,
}

impl S3 {
    /// The snapshot where the settings say.
    #[must_use]
    pub fn new(settings: &settings::Stats) -> Self {
        let inner = Inner {
            bucket: settings.bucket.clone(),
            key: settings.key.clone(),
            cache_control: format!("max-age={}", settings.interval.as_secs()),
            sessions: Sessions::new(&settings.public_endpoint),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Writes the snapshot, JSON; makes the bucket if it is missing. Has succeeded or failed within
    /// this time, though S3 may still do what it was asked.
    pub async fn put(&self, json: Bytes, within: Duration) -> Result<(), S3Error> {
        let outcome = timeout(within, self.put_or_make_bucket(json)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(no_answer(within)));
        self.note(outcome).await
    }

    async fn put_or_make_bucket(&self, json: Bytes) -> Result<(), S3Error> {
        let session = self.inner.sessions.get().await?;
        match self.put_object(&session, json.clone()).await {
            Err(failure) if failure.is_code(&["NoSuchBucket"]) => {
                self.make_bucket(&session).await?;
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
        put.send().await.map(drop).map_err(|error| Failure::of(&error))
    }

    async fn make_bucket(&self, session: &Session) -> Result<(), S3Error> {
        let location = session.location.as_deref().map(|region| {
            let region = BucketLocationConstraint::from(region);
            CreateBucketConfiguration::builder().location_constraint(region).build()
        });
        let make = session
            .client
            .create_bucket()
            .bucket(&self.inner.bucket)
            .set_create_bucket_configuration(location);
        match make.send().await.map_err(|error| Failure::of(&error)) {
            Ok(_) => info!(s3.bucket = self.inner.bucket, "made the bucket"),
            Err(failure) if failure.is_code(&MADE_BY_OTHERS) => {}
            Err(failure) if failure.is_code(&["AccessDenied"]) => {
                let bucket = &self.inner.bucket;
                let why = format!("the bucket {bucket} is not there, and may not be made");
                return Err(S3Error::Refused(why));
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(())
    }

    /// Asks whether S3 is there and knows who is asking. Reads a byte of the object: that it is not
    /// there, or may not be read, is no harm, because nobody here needs to.
    pub async fn check(&self) -> Result<(), S3Error> {
        let outcome = self.read_a_byte(&KNOWN_THERE).await;
        self.note(outcome).await
    }

    /// Asks whether the object can be read, as whoever is given a signed URL will do. It must be
    /// there: who may not list the bucket is told of one that is missing that it may not be read.
    pub async fn check_read(&self) -> Result<(), S3Error> {
        let outcome = self.read_a_byte(&EMPTY).await;
        self.note(outcome).await
    }

    async fn read_a_byte(&self, harmless: &[&str]) -> Result<(), S3Error> {
        let session = self.inner.sessions.get().await?;
        let get = session.client.get_object().bucket(&self.inner.bucket).key(&self.inner.key);
        match get.range("bytes=0-0").send().await.map_err(|error| Failure::of(&error)) {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_code(harmless) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Signs a URL of the object that is good for [`SIGNED_FOR`], or as long as the credentials.
    /// Asks S3 nothing.
    ///
    /// # Panics
    /// Never: a URL may be good for so long.
    pub async fn sign(&self) -> Result<SignedUrl, S3Error> {
        let session = self.inner.sessions.get().await?;
        let until = Instant::now() + session.cap(SIGNED_FOR);
        let get = session.signer.get_object().bucket(&self.inner.bucket).key(&self.inner.key);
        let lasting = PresigningConfig::expires_in(SIGNED_FOR);
        let lasting = lasting.expect("invariant: it is less than a week");
        let signed = get.presigned(lasting).await;
        let signed = signed.map_err(|error| S3Error::Other(chain(&error)))?;
        Ok(SignedUrl { url: signed.uri().to_owned(), until })
    }

    /// Where the object lies, for the log.
    #[must_use]
    pub fn place(&self) -> String {
        format!("s3://{}/{}", self.inner.bucket, self.inner.key)
    }

    async fn note(&self, outcome: Result<(), S3Error>) -> Result<(), S3Error> {
        if matches!(outcome, Err(S3Error::Refused(_))) {
            self.inner.sessions.forget().await;
        }
        outcome
    }
}

/// Somebody else made the bucket at the same moment, or is at it.
const MADE_BY_OTHERS: [&str; 3] =
    ["BucketAlreadyOwnedByYou", "BucketAlreadyExists", "OperationAborted"];
/// What only somebody is told whom S3 knows.
const KNOWN_THERE: [&str; 4] = ["NoSuchKey", "NoSuchBucket", "AccessDenied", "InvalidRange"];
/// There is no byte to read.
const EMPTY: [&str; 1] = ["InvalidRange"];

fn no_answer(within: Duration) -> S3Error {
    S3Error::Unanswered(format!("no answer within {within:?}"))
}
