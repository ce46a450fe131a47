//! Asking the source of visitors through whoever calls it for all processes, and waiting for what
//! becomes of that. Each of these runs once in a process, however many wait for it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mayfly_core::{Clock, Host, KeyHash, Sighting, SystemClock, Timestamp, limits};
use mayfly_hot::{Hot, SourceFailure, SourceState};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{
    increasing::write,
    kept::{Failure, Found},
};

/// How old the last good answer may be where the source fails.
const LAST_FOR: Duration = Duration::from_secs(60);
/// How long the outcome is waited for: a call that was just made, the pause after it, and the next.
const WAIT_MAX: Duration = Duration::from_millis(4_500);
/// How soon it is looked for again, at first.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long an outcome is given again that may be another at any moment.
const OUTCOME_FOR: Duration = Duration::from_millis(500);

/// What became of a question.
#[derive(Debug, Clone)]
pub enum Asked<T> {
    /// The source answered.
    Good(T),
    /// The source failed. This is what it said before.
    Last {
        /// What it said.
        answer: T,
        /// How old that was
        age: Duration,
        /// at this moment.
        at: Instant,
    },
    /// The source refused.
    Refused,
    /// The source failed, and has not said anything for long.
    Failed,
}

/// A key of a caller, and the host that it asks for.
#[derive(Debug, Clone)]
pub struct Pair<T> {
    /// The key as it was sent, which is never logged.
    pub key: T,
    /// What the two are known by.
    pub id: PairId,
}

/// What a key is known by, and a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PairId {
    /// The digest of the key.
    pub hash: KeyHash,
    /// The host.
    pub host: Host,
}

impl Pair<&str> {
    /// The same, to be taken along.
    pub fn to_owned(&self) -> Pair<String> {
        Pair { key: self.key.to_owned(), id: self.id.clone() }
    }
}

impl Pair<String> {
    async fn look(&self, hot: &Hot) -> Result<Seen, Failure> {
        let looked = Instant::now();
        let state = hot.find_source_state(&self.id.host, &self.id.hash).await?;
        let now = state.now.unwrap_or_else(|| SystemClock.now());
        Ok(Seen { state, now, looked })
    }

    /// Asks, and looks until something of use is there; gives what was seen last otherwise.
    async fn ask<T>(
        &self,
        hot: &Hot,
        first: Seen,
        is_there: impl Fn(&Seen) -> Option<T>,
    ) -> Result<(Option<T>, Seen), Failure> {
        if !hot.ask_source(&self.id.host, &self.key).await? {
            return Err(Failure::Overloaded);
        }
        let began = first.looked;
        let mut seen = first;
        while began.elapsed() < WAIT_MAX {
            // The longer it took, the less it matters to know it at once.
            sleep(LOOK_EVERY.max(began.elapsed() / 20)).await;
            seen = self.look(hot).await?;
            if let Some(there) = is_there(&seen) {
                return Ok((Some(there), seen));
            }
        }
        Ok((None, seen))
    }
}

/// What is known, and when that was.
struct Seen {
    state: SourceState,
    /// By the clock of Redis.
    now: Timestamp,
    /// By ours, before it was asked.
    looked: Instant,
}

impl Seen {
    /// How long what is of this moment is still fresh; none if it is not.
    fn freshness(&self, at: Timestamp) -> Option<Duration> {
        let left = at.plus(limits::SOURCE_SPACING).since(self.now).min(limits::SOURCE_SPACING);
        (!left.is_zero()).then_some(left)
    }

    /// The newest sighting, if nothing newer can be there; and until when that holds.
    fn fresh_sighting(&self) -> Option<(&Sighting, Instant)> {
        let sighting = self.state.sighting.as_ref()?;
        let left = self.freshness(sighting.sampled_at)?;
        Some((sighting, self.looked + left))
    }

    /// The newest call, if it failed a moment ago.
    fn fresh_failure(&self) -> Option<SourceFailure> {
        self.state.failure.filter(|failure| self.freshness(failure.at).is_some())
    }

    /// What is answered for the host, if it can be said by now.
    fn outcome(&self) -> Option<Found<Asked<Bytes>>> {
        if let Some(failure) = self.fresh_failure() {
            return Some(self.failed(failure.is_refusal));
        }
        let (sighting, until) = self.fresh_sighting()?;
        Some(Found::until(Asked::Good(write(Some(sighting))), until))
    }

    /// What is answered where the source refused, or failed.
    fn failed(&self, is_refusal: bool) -> Found<Asked<Bytes>> {
        let asked = if is_refusal { Asked::Refused } else { self.last() };
        Found::once(asked, Instant::now() + OUTCOME_FOR)
    }

    fn last(&self) -> Asked<Bytes> {
        let last = self.state.sighting.as_ref().and_then(|sighting| {
            let age = self.now.since(sighting.sampled_at);
            let last = || Asked::Last { answer: write(Some(sighting)), age, at: self.looked };
            (age <= LAST_FOR).then(last)
        });
        last.unwrap_or(Asked::Failed)
    }
}

/// The increases of a host, for a key that is good: the newest sighting while it is fresh, else what
/// the source says now.
pub async fn ask_for_host(hot: Hot, pair: Pair<String>) -> Found<Asked<Bytes>> {
    let asking = async {
        let first = pair.look(&hot).await?;
        if let Some(outcome) = first.outcome() {
            return Ok(outcome);
        }
        let (outcome, last) = pair.ask(&hot, first, Seen::outcome).await?;
        Ok(outcome.unwrap_or_else(|| last.failed(false)))
    };
    asking.await.unwrap_or_else(|failure: Failure| Found::failed(failure))
}

/// The same where the newest sighting is fresh still, but for less than `ahead`: what comes after it.
/// Nothing where that cannot be said: then who asks next asks in the usual way.
pub async fn ask_for_newer(
    hot: Hot,
    pair: Pair<String>,
    ahead: Duration,
) -> Option<Found<Asked<Bytes>>> {
    let first = pair.look(&hot).await.ok()?;
    let is_ending = |until: Instant| until < Instant::now() + ahead;
    // Another process may have had it called for already.
    if first.fresh_sighting().is_some_and(|(_, until)| !is_ending(until)) {
        return first.outcome();
    }
    let newest = |seen: &Seen| {
        let sampled_at = seen.state.sighting.as_ref().map(|sighting| sighting.sampled_at);
        sampled_at.max(seen.state.failure.map(|failure| failure.at))
    };
    let known = newest(&first);
    let is_newer = |seen: &Seen| if newest(seen) > known { seen.outcome() } else { None };
    pair.ask(&hot, first, is_newer).await.ok()?.0
}

/// Whether the source accepts a key for a host. What becomes of other keys says nothing of this one;
/// only that the source fails does. Only so many are tried at once.
pub async fn ask_for_pair(
    hot: Hot,
    pair: Pair<String>,
    trials: Arc<Semaphore>,
) -> Found<Asked<()>> {
    let outcome = |seen: &Seen| match &seen.state {
        state if state.is_accepted => Some(Asked::Good(())),
        state if state.is_refused => Some(Asked::Refused),
        _ => None,
    };
    let asking = async {
        let first = pair.look(&hot).await?;
        let asked_at = first.now;
        let failed = |seen: &Seen| {
            let failure = seen.state.failure?;
            (failure.at >= asked_at && !failure.is_refusal).then_some(Asked::Failed)
        };
        if let Some(known) = outcome(&first) {
            return Ok(known);
        }
        let Ok(_trial) = trials.try_acquire() else { return Err(Failure::Overloaded) };
        let is_there = |seen: &Seen| outcome(seen).or_else(|| failed(seen));
        let (outcome, _) = pair.ask(&hot, first, is_there).await?;
        Ok(outcome.unwrap_or(Asked::Failed))
    };
    match asking.await {
        Ok(asked) => Found::until(asked, Instant::now() + OUTCOME_FOR),
        Err(failure) => Found::failed(failure),
    }
}
