//! Where the snapshot is for callers: a URL that is signed ahead, so that no request asks S3, Postgres
//! or a source of credentials, nor Redis once a snapshot was seen.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_hot::{Hot, HotError, StateFeed};
use mayfly_http::{Code, Problem};
use mayfly_runtime::{Health, Need, Part, settings};
use mayfly_s3::{S3, S3Error, SignedUrl};
use tokio::time::Instant;

use crate::problems::of_hot;

/// How often a URL is signed anew,
const SIGN_EVERY: Duration = Duration::from_secs(15);
/// and how soon again where that failed.
const SIGN_AGAIN: Duration = Duration::from_secs(3);
/// How often S3 is asked whether what is signed can be read; sooner again where it refused.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// How long a URL must still be good to be given out.
const LIFE_LEFT_MIN: Duration = Duration::from_secs(60);
/// When to come back before the first snapshot.
const FIRST_AFTER: Duration = Duration::from_secs(5);

/// What one thread needs to lead callers to the snapshot.
pub struct Statistics {
    hot: Hot,
    link: Arc<Link>,
}

/// The way to the snapshot, one for all threads.
pub struct Link {
    url: Url,
    /// Whether a snapshot was seen. There is one from then on, whatever Redis forgets.
    is_there: AtomicBool,
}

enum Url {
    /// The public one.
    Fixed(String),
    /// Signed by the background, which knows the credentials.
    Signed(RwLock<Result<SignedUrl, String>>),
}

/// Signs, and sees whether that is worth anything.
struct Signer {
    hot: Hot,
    s3: S3,
    part: Part,
    /// What S3 said against the keys when it was asked last.
    refusal: Option<String>,
    check_at: Instant,
}

impl Link {
    /// The way that the settings say; nothing is signed yet.
    pub fn new(settings: &settings::Stats) -> Arc<Self> {
        let url = if settings.public_url.is_empty() {
            Url::Signed(RwLock::new(Err("not signed yet".to_owned())))
        } else {
            Url::Fixed(settings.public_url.clone())
        };
        Arc::new(Self { url, is_there: AtomicBool::new(false) })
    }

    /// Keeps a signed URL at hand until aborted. Ends at once where none is needed.
    pub async fn keep_signed(self: Arc<Self>, hot: Hot, settings: settings::Stats, health: Health) {
        let Url::Signed(kept) = &self.url else { return };
        let part = health.register("s3", Need::Useful);
        let s3 = S3::new(&settings);
        let mut signer = Signer { hot, s3, part, refusal: None, check_at: Instant::now() };
        loop {
            let began = Instant::now();
            let pause = signer.sign(kept).await;
            // After the signing, which waits for no store.
            let has_changed = signer.check_in_time(&self).await;
            if !has_changed {
                tokio::time::sleep_until(began + pause).await;
            }
        }
    }

    /// Whether there is a snapshot: asked of the hot store until one was seen.
    async fn is_there(&self, hot: &Hot) -> Result<bool, HotError> {
        if !self.is_there.load(Ordering::Relaxed) {
            if hot.find_state(StateFeed::Stats).await?.is_none() {
                return Ok(false);
            }
            self.is_there.store(true, Ordering::Relaxed);
        }
        Ok(true)
    }

    fn url(&self) -> Result<String, Problem> {
        let kept = match &self.url {
            Url::Fixed(url) => return Ok(url.clone()),
            Url::Signed(kept) => kept.read().unwrap_or_else(PoisonError::into_inner),
        };
        match &*kept {
            Ok(signed) if Instant::now() + LIFE_LEFT_MIN < signed.until => Ok(signed.url.clone()),
            Ok(_) => Err(unavailable("the signed URL ends too soon")),
            Err(reason) => Err(unavailable(reason)),
        }
    }
}

impl Statistics {
    /// What a thread needs, with its own way to the hot store.
    pub fn new(hot: Hot, link: Arc<Link>) -> Self {
        Self { hot, link }
    }

    /// Where the snapshot is.
    pub async fn find_url(&self) -> Result<String, Problem> {
        if !self.link.is_there(&self.hot).await.map_err(|error| of_hot(&error))? {
            let soon = Problem::new(Code::Unavailable).detail("there are no statistics yet");
            return Err(soon.retry_after(FIRST_AFTER));
        }
        self.link.url()
    }
}

impl Signer {
    /// Signs a URL; gives how long to wait then. One that was signed before is given out as long as
    /// it is good.
    async fn sign(&mut self, kept: &RwLock<Result<SignedUrl, String>>) -> Duration {
        let signed = self.s3.sign().await;
        let mut kept = kept.write().unwrap_or_else(PoisonError::into_inner);
        match signed {
            Ok(url) => {
                *kept = Ok(url);
                let Some(refusal) = &self.refusal else {
                    self.part.up();
                    return SIGN_EVERY;
                };
                self.part.down(refusal);
            }
            Err(error) => {
                self.part.down(error.to_string());
                if kept.is_err() {
                    *kept = Err(error.to_string());
                }
            }
        }
        SIGN_AGAIN
    }

    /// Asks now and then whether what is signed can be read. Gives whether that is otherwise than it
    /// was: then it is to be signed anew at once, as after a refusal the keys are read again.
    async fn check_in_time(&mut self, link: &Link) -> bool {
        if Instant::now() < self.check_at {
            return false;
        }
        // Before the first snapshot nothing can be read, and the answer depends on other rights.
        let answer = match link.is_there(&self.hot).await {
            Ok(true) => self.s3.check_read().await,
            Ok(false) | Err(_) => self.s3.check().await,
        };
        let refusal = match answer {
            Ok(()) => None,
            // Whether it would refuse is not said by one that cannot be reached. Signing says what
            // there is not to sign with.
            Err(S3Error::Unreachable(_) | S3Error::Unanswered(_) | S3Error::NoCredentials(_)) => {
                self.refusal.clone()
            }
            Err(error) => Some(error.to_string()),
        };
        let pause = if refusal.is_some() { SIGN_AGAIN } else { CHECK_EVERY };
        self.check_at = Instant::now() + pause;
        let has_changed = refusal != self.refusal;
        self.refusal = refusal;
        has_changed
    }
}

fn unavailable(reason: &str) -> Problem {
    Problem::new(Code::Unavailable)
        .detail("the statistics cannot be reached")
        .caused_by(format!("no URL of the statistics: {reason}"))
}
