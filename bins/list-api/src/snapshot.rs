//! The URL of the statistics snapshot in S3.
//!
//! The URL is signed in advance, so that requests do not call S3 or a credentials provider. Once a
//! snapshot has been seen, requests do not call Redis either.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_core::StateFeed;
use mayfly_hot::{HotError, HotStore};
use mayfly_http::{Code, Problem};
use mayfly_runtime::{Component, Criticality, Health, settings};
use mayfly_s3::{S3Error, SignedUrl, SnapshotStore};
use parking_lot::RwLock;
use tokio::time::Instant;

/// The interval between two signatures.
const SIGN_INTERVAL: Duration = Duration::from_secs(15);
/// The interval before the next signature after a failure, and before the next signature or check
/// while the snapshot cannot be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);
/// The interval between two checks of whether S3 accepts the signed URL.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// The minimum remaining lifetime of a URL that is returned to a client.
const REMAINING_LIFETIME_MIN: Duration = Duration::from_secs(60);
/// The `Retry-After` value in the response while there is no snapshot.
const FIRST_SNAPSHOT_RETRY: Duration = Duration::from_secs(5);

/// Queries for the snapshot. Each HTTP thread has its own instance.
pub struct SnapshotQueries {
    hot: HotStore,
    url: Arc<SnapshotUrl>,
}

/// The URL of the snapshot, shared by all threads.
pub struct SnapshotUrl {
    url: Url,
    /// Whether a snapshot has been seen. Stays `true` after Redis has lost its data, because the
    /// snapshot still exists in S3.
    is_published: AtomicBool,
    /// Whether the object was missing at the last conclusive check, because it was deleted or
    /// because the configured bucket or key is new.
    is_missing: AtomicBool,
}

enum Url {
    /// The configured public URL.
    Public(String),
    /// A URL that a background task signs, or the reason if no URL has been signed yet.
    Signed(RwLock<Result<SignedUrl, String>>),
}

/// The signer of the URL, which also checks that S3 accepts the URL.
struct UrlSigner {
    hot: HotStore,
    s3: SnapshotStore,
    component: Component,
    /// The error if the object was not readable at the last conclusive check: S3 denied access, or
    /// the object was missing.
    access_denied: Option<String>,
    check_at: Instant,
}

impl SnapshotUrl {
    /// Creates the URL. Unless it is public, [`Self::sign_periodically`] must sign it.
    pub fn new(settings: &settings::StatsSettings) -> Arc<Self> {
        let url = if settings.public_url.is_empty() {
            Url::Signed(RwLock::new(Err("not signed yet".to_owned())))
        } else {
            Url::Public(settings.public_url.clone())
        };
        Arc::new(Self {
            url,
            is_published: AtomicBool::new(false),
            is_missing: AtomicBool::new(false),
        })
    }

    /// Signs the URL periodically until the task is aborted. Returns immediately if the URL is
    /// public.
    pub async fn sign_periodically(
        self: Arc<Self>,
        hot: HotStore,
        settings: settings::StatsSettings,
        health: Health,
    ) {
        let Url::Signed(current) = &self.url else { return };
        let component = health.register("s3", Criticality::Optional);
        let s3 = SnapshotStore::new(&settings);
        let check_at = Instant::now();
        let mut signer = UrlSigner { hot, s3, component, access_denied: None, check_at };
        loop {
            let started = Instant::now();
            let interval = signer.sign(current).await;
            // The URL is signed before the check, because the check may have to wait for Redis and
            // S3.
            let has_changed = signer.check_if_due(&self).await;
            if !has_changed {
                tokio::time::sleep_until(started + interval).await;
            }
        }
    }

    /// Returns whether a snapshot exists. Reads Redis until a snapshot has been seen.
    async fn is_published(&self, hot: &HotStore) -> Result<bool, HotError> {
        if !self.is_published.load(Ordering::Relaxed) {
            if hot.snapshots().find_state(StateFeed::Stats).await?.is_none() {
                return Ok(false);
            }
            self.is_published.store(true, Ordering::Relaxed);
        }
        Ok(true)
    }

    fn get(&self) -> Result<String, Problem> {
        let signed = match &self.url {
            Url::Public(url) => return Ok(url.clone()),
            Url::Signed(signed) => signed.read(),
        };
        match &*signed {
            Ok(signed) if Instant::now() + REMAINING_LIFETIME_MIN < signed.expires_at => {
                Ok(signed.url.clone())
            }
            Ok(_) => Err(url_unavailable("the signed URL expires too soon")),
            Err(reason) => Err(url_unavailable(reason)),
        }
    }
}

impl SnapshotQueries {
    /// Creates the queries.
    pub fn new(hot: HotStore, url: Arc<SnapshotUrl>) -> Self {
        Self { hot, url }
    }

    /// Returns the URL of the snapshot.
    pub async fn find_url(&self) -> Result<String, Problem> {
        let is_missing = self.url.is_missing.load(Ordering::Relaxed);
        if is_missing || !self.url.is_published(&self.hot).await? {
            return Err(Problem::new(Code::Unavailable)
                .detail("No statistics have been published yet.")
                .retry_after(FIRST_SNAPSHOT_RETRY));
        }
        self.url.get()
    }
}

impl UrlSigner {
    /// Signs a URL, updates the health component, and returns the interval until the next
    /// signature. If signing fails, the previous URL remains in use.
    async fn sign(&mut self, current: &RwLock<Result<SignedUrl, String>>) -> Duration {
        let signed = self.s3.sign_url().await;
        let mut current = current.write();
        match signed {
            Ok(url) => {
                *current = Ok(url);
                let Some(reason) = &self.access_denied else {
                    self.component.mark_up();
                    return SIGN_INTERVAL;
                };
                self.component.mark_down(reason);
            }
            Err(error) => {
                self.component.mark_down(error.to_string());
                if current.is_err() {
                    *current = Err(error.to_string());
                }
            }
        }
        RETRY_INTERVAL
    }

    /// Checks whether S3 accepts the URL, if a check is due. Returns whether the result has
    /// changed.
    ///
    /// A change requires a new signature, because the credentials are reloaded after a denial.
    async fn check_if_due(&mut self, url: &SnapshotUrl) -> bool {
        if Instant::now() < self.check_at {
            return false;
        }
        // While there is no snapshot, a read is inconclusive, because its error depends on the
        // permission to list the bucket.
        let is_published = url.is_published(&self.hot).await.unwrap_or(false);
        let result =
            if is_published { self.s3.check_readable().await } else { self.s3.check().await };
        if let Ok(exists) = result {
            url.is_missing.store(is_published && !exists, Ordering::Relaxed);
        }
        let access_denied = match result {
            Ok(false) if is_published => Some(format!("{} is missing", self.s3.location())),
            Ok(_) => None,
            // Inconclusive: S3 was unavailable, or the credentials are missing. `sign` reports
            // missing credentials.
            Err(S3Error::Unavailable(_) | S3Error::Timeout(_) | S3Error::NoCredentials(_)) => {
                self.access_denied.clone()
            }
            Err(error) => Some(error.to_string()),
        };
        let interval = if access_denied.is_some() { RETRY_INTERVAL } else { CHECK_INTERVAL };
        self.check_at = Instant::now() + interval;
        let has_changed = access_denied != self.access_denied;
        self.access_denied = access_denied;
        has_changed
    }
}

fn url_unavailable(reason: &str) -> Problem {
    Problem::new(Code::Unavailable)
        .detail("The statistics are not available.")
        .caused_by(format!("there is no usable signed URL for the snapshot: {reason}"))
}
