//! Whether S3 can be used: asked at the start and now and then, by the spare too, and heard from
//! every snapshot that is put.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mayfly_core::Timestamp;
use mayfly_runtime::{Health, Need, Part};
use mayfly_s3::{S3, S3Error};

/// How often S3 is asked while it answers well,
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// and while it does not.
const CHECK_AGAIN: Duration = Duration::from_secs(3);

/// What is known of S3. Clones share it.
#[derive(Clone)]
pub struct Access {
    /// Whether it answers.
    reachable: Part,
    /// Whether anything can be done with the credentials. What is not known is assumed.
    credentials: Part,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// What S3, or the lack of credentials, said against them when it was asked last.
    refusal: Option<String>,
    /// What it said against putting a snapshot, and when last; asking shows nothing of this right.
    put_refusal: Option<(String, Timestamp)>,
}

impl Access {
    /// Registers the parts that tell of it.
    pub fn register(health: &Health) -> Self {
        Self {
            reachable: health.register("s3", Need::Useful),
            credentials: health.register("s3_credentials", Need::Required),
            known: Arc::default(),
        }
    }

    /// Asks now and then, until aborted.
    pub async fn watch(self, s3: S3) {
        loop {
            let answer = s3.check().await;
            self.note_check(&answer);
            let pause = if answer.is_ok() { CHECK_EVERY } else { CHECK_AGAIN };
            tokio::time::sleep(pause).await;
        }
    }

    fn note_check(&self, answer: &Result<(), S3Error>) {
        let mut known = self.lock();
        match answer {
            Err(error) if error.is_about_rights() => known.refusal = Some(error.to_string()),
            // Whether it knows us is not said by one that cannot be reached: what was known stays.
            Err(S3Error::Unreachable(_) | S3Error::Unanswered(_)) => {}
            _ => known.refusal = None,
        }
        self.show(&known, answer);
    }

    /// Notes what became of a snapshot that was put.
    pub fn note_put(&self, answer: &Result<(), S3Error>, now: Timestamp) {
        let mut known = self.lock();
        match answer {
            Ok(()) => *known = Known::default(),
            Err(error @ S3Error::NoCredentials(_)) => known.refusal = Some(error.to_string()),
            Err(error @ S3Error::Refused(_)) => known.put_refusal = Some((error.to_string(), now)),
            Err(_) => {}
        }
        self.show(&known, answer);
    }

    /// When this publisher was refused to put last; none where it may, or does not know. Only a put
    /// of its own that succeeds ends it: that others may says nothing of its own rights.
    pub fn put_refused_at(&self) -> Option<Timestamp> {
        self.lock().put_refusal.as_ref().map(|(_, at)| *at)
    }

    fn show(&self, known: &Known, answer: &Result<(), S3Error>) {
        let put_refusal = known.put_refusal.as_ref().map(|(reason, _)| reason);
        match known.refusal.as_ref().or(put_refusal) {
            Some(reason) => self.credentials.down(reason),
            None => self.credentials.up(),
        }
        match answer {
            // One that refuses answers.
            Ok(()) | Err(S3Error::Refused(_)) => self.reachable.up(),
            // It was not asked.
            Err(S3Error::NoCredentials(_)) => {}
            Err(error) => self.reachable.down(error.to_string()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
