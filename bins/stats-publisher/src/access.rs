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
    /// What it said against putting a snapshot, and when; asking shows nothing of this right.
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
            Err(S3Error::Unreachable(_)) => {}
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

    /// Notes that there is a snapshot of this time: if it is newer than a refusal, another publisher
    /// was allowed to put it, and so will be this one.
    pub fn note_snapshot(&self, generated_at: Timestamp) {
        let mut known = self.lock();
        if known.put_refusal.as_ref().is_some_and(|(_, at)| generated_at > *at) {
            known.put_refusal = None;
            self.show(&known, &Ok(()));
        }
    }

    fn show(&self, known: &Known, answer: &Result<(), S3Error>) {
        let put_refusal = known.put_refusal.as_ref().map(|(reason, _)| reason);
        let against = known.refusal.as_ref().or(put_refusal);
        match against {
            Some(reason) => self.credentials.down(reason),
            None => self.credentials.up(),
        }
        match (answer, against) {
            (Err(error), _) => self.reachable.down(error.to_string()),
            (Ok(()), Some(reason)) => self.reachable.down(reason),
            (Ok(()), None) => self.reachable.up(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
