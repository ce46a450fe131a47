//! Which pages of a host have more visitors than before, for who has a key for it.
//!
//! A request that comes while its key and its answer are known asks nobody. Keys are known for half a
//! second, so that a revoked one is refused within a second everywhere; an answer for as long as
//! nothing newer can be there. Of a host that is asked for all the time something newer is asked for
//! ahead, and the answer is given until that is there.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mayfly_core::{Host, KeyHash, Sighting, limits};
use mayfly_hot::{ApiKeyState, Hot};
use mayfly_http::Problem;
use mayfly_runtime::{Settings, settings::RisingSource};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    asking::{self, Asked, Pair, PairId},
    hosts::to_json,
    kept::{Found, Kept},
    problems::{keys_not_back, unauthorized, upstream_failed, upstream_refused},
};

/// How long a key is known.
const KEY_KNOWN_FOR: Duration = Duration::from_millis(500);
/// Keys that a process has tried at once; more are 503.
const TRIALS_MAX: usize = 100;
/// How long before its answer is fresh no more a host is asked for again, by who asks then.
const RENEWED_AHEAD: Duration = Duration::from_millis(600);
/// How long the answer is given meanwhile, once it is fresh no more: about as long as a call takes.
const GIVEN_LONGER: Duration = Duration::from_secs(1);
/// How long an answer from our own counts is given again.
const COUNTED_FOR: Duration = Duration::from_secs(1);

/// What the handlers of one thread need.
pub struct Increasing {
    hot: Hot,
    source: RisingSource,
    kept: Arc<KeptIncreases>,
}

/// What is known of keys and hosts over all threads.
pub struct KeptIncreases {
    standings: Kept<PairId, Standing>,
    /// Of keys that are not ours yet: whether the source accepted them.
    pairs: Kept<PairId, Asked<()>>,
    /// Those that may be tried at once.
    trials: Arc<Semaphore>,
    increases: Kept<Host, Asked<Bytes>>,
}

/// How a key stands to a host.
#[derive(Debug, Clone, Copy)]
enum Standing {
    NotBack,
    Revoked,
    Unknown,
    Good,
}

/// The pages that increase, JSON.
pub struct Increases {
    /// The list.
    pub json: Bytes,
    /// How old it is, where the source failed since.
    pub stale_for: Option<Duration>,
}

impl KeptIncreases {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self {
            standings: Kept::new(),
            pairs: Kept::new(),
            trials: Arc::new(Semaphore::new(TRIALS_MAX)),
            increases: Kept::new(),
        }
    }
}

impl Increasing {
    /// Before the hot store.
    pub fn new(hot: Hot, settings: &Settings, kept: Arc<KeptIncreases>) -> Self {
        Self { hot, source: settings.rising.source, kept }
    }

    /// Lists the pages of a host that have more visitors than before, the greatest change first.
    pub async fn list_increases(&self, api_key: &str, host: &str) -> Result<Increases, Problem> {
        let host = Host::parse(host).ok().filter(|_| is_key(api_key)).ok_or_else(unauthorized)?;
        let pair = Pair { key: api_key, id: PairId { hash: KeyHash::of(api_key), host } };
        if !self.is_ours(&pair).await? {
            match self.source {
                RisingSource::Visits => return Err(unauthorized()),
                RisingSource::Chartbeat => self.ask_for_pair(&pair).await?,
            }
        }
        let (increases, of) = (&self.kept.increases, &pair.id.host);
        let asked = match self.source {
            RisingSource::Visits => {
                increases.get(of, || find_counted(self.hot.clone(), of.clone())).await?
            }
            RisingSource::Chartbeat => {
                self.renew_in_time(&pair);
                let ask = || asking::ask_for_host(self.hot.clone(), pair.to_owned());
                increases.get(of, ask).await?
            }
        };
        match asked {
            Asked::Good(json) => Ok(Increases { json, stale_for: None }),
            Asked::Last { answer, age, at } => {
                Ok(Increases { json: answer, stale_for: Some(age + at.elapsed()) })
            }
            Asked::Refused => Err(upstream_refused()),
            Asked::Failed => Err(upstream_failed()),
        }
    }

    /// Where the answer for a host is fresh for little longer, asks ahead, beside the requests: so
    /// those of a host that is asked for all the time wait for no call.
    fn renew_in_time(&self, pair: &Pair<&str>) {
        let increases = &self.kept.increases;
        if !increases.take_renewal(&pair.id.host, RENEWED_AHEAD, GIVEN_LONGER) {
            return;
        }
        let (kept, of) = (self.kept.clone(), pair.id.host.clone());
        let asking = asking::ask_for_newer(self.hot.clone(), pair.to_owned(), RENEWED_AHEAD);
        tokio::spawn(async move {
            if let Some(newer) = asking.await {
                kept.increases.put(of, newer);
            }
        });
    }

    /// Whether it is a key of ours for this host.
    async fn is_ours(&self, pair: &Pair<&str>) -> Result<bool, Problem> {
        let ask = || find_standing(self.hot.clone(), pair.id.clone());
        match self.kept.standings.get(&pair.id, ask).await? {
            Standing::NotBack => Err(keys_not_back()),
            Standing::Revoked => Err(unauthorized()),
            Standing::Unknown => Ok(false),
            Standing::Good => Ok(true),
        }
    }

    /// Has the source say whether a key that is not ours is good for this host. Where it fails,
    /// nothing is given out: nobody knows whether the caller may have it.
    async fn ask_for_pair(&self, pair: &Pair<&str>) -> Result<(), Problem> {
        let trials = &self.kept.trials;
        let ask = || asking::ask_for_pair(self.hot.clone(), pair.to_owned(), trials.clone());
        match self.kept.pairs.get(&pair.id, ask).await? {
            Asked::Good(()) => Ok(()),
            Asked::Refused => Err(upstream_refused()),
            Asked::Failed | Asked::Last { .. } => Err(upstream_failed()),
        }
    }
}

/// Whether a text can be a key of anybody.
fn is_key(text: &str) -> bool {
    (1..=limits::SOURCE_KEY_CHARS_MAX).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
}

async fn find_standing(hot: Hot, pair: PairId) -> Found<Standing> {
    let began = Instant::now();
    let standing = match hot.find_api_key(&pair.hash).await {
        // Whoever comes next looks again: they may be back.
        Ok(ApiKeyState::NotBack) => return Found::until(Standing::NotBack, began),
        Ok(ApiKeyState::Revoked) => Standing::Revoked,
        Ok(ApiKeyState::Good(hosts)) if hosts.contains(&pair.host) => Standing::Good,
        Ok(ApiKeyState::Good(_) | ApiKeyState::Unknown) => Standing::Unknown,
        Err(error) => return Found::failed(error),
    };
    Found::until(standing, began + KEY_KNOWN_FOR)
}

/// The newest that our own publisher counted; nothing where it counted nothing yet.
async fn find_counted(hot: Hot, of: Host) -> Found<Asked<Bytes>> {
    let began = Instant::now();
    match hot.find_sighting(&of).await {
        Ok(sighting) => Found::until(Asked::Good(write(sighting.as_ref())), began + COUNTED_FOR),
        Err(error) => Found::failed(error),
    }
}

/// The increases of a sighting, JSON.
pub fn write(sighting: Option<&Sighting>) -> Bytes {
    sighting.map_or(Bytes::from_static(b"[]"), |sighting| to_json(&sighting.to_increases()))
}
