//! Where the snapshot is for callers: a URL that is signed ahead, so that no request asks S3, Postgres
//! or a source of credentials, nor Redis once a snapshot was seen.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_hot::{Hot, StateFeed};
use mayfly_http::{Code, Problem};
use mayfly_runtime::{Health, Need, Part, settings};
use mayfly_s3::{S3, SIGNED_FOR};
use tokio::time::Instant;

use crate::problems::of_hot;

/// How often a URL is signed anew,
const SIGN_EVERY: Duration = Duration::from_secs(15);
/// and how soon again where that failed.
const SIGN_AGAIN: Duration = Duration::from_secs(3);
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
    Signed(RwLock<Result<Signed, String>>),
}

#[derive(Clone)]
struct Signed {
    url: String,
    at: Instant,
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
    pub async fn keep_signed(self: Arc<Self>, settings: settings::Stats, health: Health) {
        let Url::Signed(kept) = &self.url else { return };
        let s3 = S3::new(&settings);
        let part = health.register("s3", Need::Useful);
        loop {
            let pause = sign(&s3, kept, &part).await;
            tokio::time::sleep(pause).await;
        }
    }

    fn url(&self) -> Result<String, Problem> {
        let kept = match &self.url {
            Url::Fixed(url) => return Ok(url.clone()),
            Url::Signed(kept) => kept.read().unwrap_or_else(PoisonError::into_inner),
        };
        match &*kept {
            Ok(signed) if signed.at.elapsed() + LIFE_LEFT_MIN < SIGNED_FOR => {
                Ok(signed.url.clone())
            }
            Ok(_) => Err(unavailable("the signed URL is too old")),
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
        if !self.link.is_there.load(Ordering::Relaxed) {
            let found = self.hot.find_state(StateFeed::Stats).await;
            if found.map_err(|error| of_hot(&error))?.is_none() {
                let soon = Problem::new(Code::Unavailable).detail("there are no statistics yet");
                return Err(soon.retry_after(FIRST_AFTER));
            }
            self.link.is_there.store(true, Ordering::Relaxed);
        }
        self.link.url()
    }
}

/// Signs a URL; gives how long to wait then. One that was signed before is given out as long as it
/// is good.
async fn sign(s3: &S3, kept: &RwLock<Result<Signed, String>>, part: &Part) -> Duration {
    let at = Instant::now();
    let signed = s3.sign().await;
    let mut kept = kept.write().unwrap_or_else(PoisonError::into_inner);
    match signed {
        Ok(url) => {
            part.up();
            *kept = Ok(Signed { url, at });
            SIGN_EVERY
        }
        Err(error) => {
            part.down(error.to_string());
            if kept.is_err() {
                *kept = Err(error.to_string());
            }
            SIGN_AGAIN
        }
    }
}

fn unavailable(reason: &str) -> Problem {
    Problem::new(Code::Unavailable)
        .detail("the statistics cannot be reached")
        .caused_by(format!("no URL of the statistics: {reason}"))
}
