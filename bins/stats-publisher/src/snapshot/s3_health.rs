//! The health of S3, which every instance checks periodically and updates after every upload.

use std::{sync::Arc, time::Duration};

use mayfly_core::Timestamp;
use mayfly_runtime::{Component, Criticality, Health};
use mayfly_s3::{S3Error, SnapshotStore};
use parking_lot::Mutex;

/// The interval between two checks while S3 is healthy.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// The interval between two checks while S3 is unhealthy.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);

/// The health of S3. Clones share the state.
#[derive(Clone)]
pub struct S3Health {
    /// Whether S3 is available.
    reachable: Component,
    /// Whether the credentials and permissions suffice, as far as is known.
    credentials: Component,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The error if the credentials were missing, or if S3 rejected a check. `None` after a
    /// conclusive check without an access error, and after a successful upload.
    access_error: Option<String>,
    /// The error and the time of the last denied upload. A check does not test the write
    /// permission.
    upload_denied: Option<(String, Timestamp)>,
    /// Whether the object was missing at the last successful check and has not been uploaded since.
    is_object_missing: bool,
}

impl S3Health {
    /// Registers the components.
    pub fn register(health: &Health) -> Self {
        Self {
            reachable: health.register("s3", Criticality::Optional),
            credentials: health.register("s3_credentials", Criticality::Required),
            state: Arc::default(),
        }
    }

    /// Checks S3 periodically until aborted.
    pub async fn watch(self, s3: SnapshotStore) {
        loop {
            let interval = if self.check(&s3).await { CHECK_INTERVAL } else { RETRY_INTERVAL };
            tokio::time::sleep(interval).await;
        }
    }

    /// Checks S3, records the result, and returns whether the check succeeded.
    pub async fn check(&self, s3: &SnapshotStore) -> bool {
        let result = s3.check().await;
        if let Ok(exists) = result {
            self.state.lock().is_object_missing = !exists;
        }
        self.record_check(&result.map(drop))
    }

    fn record_check(&self, result: &Result<(), S3Error>) -> bool {
        let mut state = self.state.lock();
        match result {
            Err(error) if error.is_access_error() => state.access_error = Some(error.to_string()),
            // Inconclusive: S3 was unavailable or did not respond in time.
            Err(S3Error::Unavailable(_) | S3Error::Timeout(_)) => {}
            _ => state.access_error = None,
        }
        self.report(&state, result);
        result.is_ok()
    }

    /// Records the result of an upload.
    pub fn record_upload(&self, result: &Result<(), S3Error>, now: Timestamp) {
        let mut state = self.state.lock();
        match result {
            Ok(()) => *state = State::default(),
            Err(error @ S3Error::NoCredentials(_)) => state.access_error = Some(error.to_string()),
            Err(error @ S3Error::Rejected(_)) => {
                state.upload_denied = Some((error.to_string(), now));
            }
            Err(_) => {}
        }
        self.report(&state, result);
    }

    /// Returns the time when S3 last denied an upload by this instance. Returns `None` if no upload
    /// was denied or a later upload by this instance succeeded.
    ///
    /// Only a successful upload by this instance clears the time, because another instance may have
    /// other permissions.
    pub fn upload_denied_at(&self) -> Option<Timestamp> {
        self.state.lock().upload_denied.as_ref().map(|(_, at)| *at)
    }

    /// Returns whether the object was missing at the last successful check and has not been
    /// uploaded since. The announced snapshot may be stored in a previously configured bucket or
    /// under a previously configured key.
    pub fn is_object_missing(&self) -> bool {
        self.state.lock().is_object_missing
    }

    fn report(&self, state: &State, result: &Result<(), S3Error>) {
        let upload_denied = state.upload_denied.as_ref().map(|(reason, _)| reason);
        match state.access_error.as_ref().or(upload_denied) {
            Some(reason) => self.credentials.mark_down(reason),
            None => self.credentials.mark_up(),
        }
        match result {
            // A rejection also shows that S3 is available.
            Ok(()) | Err(S3Error::Rejected(_)) => self.reachable.mark_up(),
            // No request was sent.
            Err(S3Error::NoCredentials(_)) => {}
            Err(error) => self.reachable.mark_down(error.to_string()),
        }
    }
}
