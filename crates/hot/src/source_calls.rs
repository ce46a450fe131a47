//! Calls of the source of visitors, for the one publisher that makes them.

use std::{fmt, sync::LazyLock, time::Duration};

use deadpool_redis::redis::{self, Script};
use mayfly_core::{Host, KeyHash, Timestamp, limits};

use crate::{
    accept::millis,
    error::{HotError, unexpected_answer},
    lease::Lease,
    pool::Hot,
    source::STATE_KEPT,
};

static TAKE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/take_source_call.lua")));
static NOTE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/note_source_call.lua")));

/// How long it is at most until the source hears of a call that was noted.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// Calls for one host in one minute of the clock.
const CALLS_PER_MINUTE: u32 = 200;
/// Accepted keys that are kept of one host.
const KEYS_MAX: usize = 100;
/// How long an accepted key is kept after one of the host was accepted last.
const KEYS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a key stays refused for a host.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// Keys that are related at once.
const RELATED_AT_ONCE: usize = 100;

/// Who wants a host to be sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Whoever asked for it in Redis.
    Client,
    /// Somebody who watches it.
    Watcher,
    /// The clock: it is to be sampled once since this moment.
    Refresh(Timestamp),
}

/// A call that is to be made now. It counts as made.
#[derive(Clone)]
pub struct SourceCall {
    /// For which host.
    pub host: Host,
    /// With which key, as the source knows it; never logged.
    pub key: String,
    /// What the key is known by.
    pub digest: KeyHash,
    /// Whether the source has not accepted this key for this host before.
    pub is_trial: bool,
    /// When it began, by the clock of Redis.
    pub called_at: Timestamp,
    /// Whether it is made because the clock says so.
    pub is_refresh: bool,
}

impl fmt::Debug for SourceCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut call = formatter.debug_struct("SourceCall");
        call.field("host", &self.host).field("is_trial", &self.is_trial).finish_non_exhaustive()
    }
}

/// Why the source is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCall {
    /// The lease is another's by now.
    NotLeading,
    /// It is too soon, for so long.
    TooSoon(Duration),
    /// There is no key to call with, or nobody wants it.
    NothingToDo,
    /// The source wants to be left alone for so long; who asked was told that it failed.
    Paused(Duration),
}

/// Whether the source is to be called.
pub type Taken = Result<SourceCall, NoCall>;

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceOutcome {
    /// The source answered; its answer is published.
    Answered {
        /// Whether Postgres knows that this key is good for this host.
        is_related: bool,
    },
    /// The source does not know the host, or wants no such question: 4xx.
    Refused,
    /// The source wants another key: 401 or 403.
    Forbidden,
    /// Everything else.
    Failed,
}

impl SourceOutcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
            Self::Refused => "refused",
            Self::Forbidden => "forbidden",
            Self::Failed => "failed",
        }
    }
}

/// A key that the source accepted and Postgres does not know of yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrelatedKey {
    /// What it is known by.
    pub digest: KeyHash,
    /// What it begins with.
    pub start: String,
    /// For which host it was accepted.
    pub host: Host,
}

impl Hot {
    /// Hosts that somebody asks for, who asked first first.
    pub async fn list_asked_hosts(&self) -> Result<Vec<Host>, HotError> {
        let hosts: Vec<String> = self
            .call(async |connection| {
                redis::cmd("ZRANGE")
                    .arg(self.keys.asked_hosts())
                    .arg(0)
                    .arg(limits::WATCHED_HOSTS_MAX)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(hosts.into_iter().filter_map(|host| Host::parse(host).ok()).collect())
    }

    /// Decides whether the source is called for a host now, and with which key. What is given counts
    /// as called, whatever becomes of this process.
    pub async fn take_source_call(
        &self,
        lease: &Lease,
        host: &Host,
        asker: Asker,
    ) -> Result<Taken, HotError> {
        let Some(value) = lease.value() else { return Ok(Err(NoCall::NotLeading)) };
        let keys = &self.keys;
        let mut call = TAKE.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.source(host)).key(keys.asked_pairs(host));
        call.key(keys.source_keys(host)).key(keys.source_secrets(host)).key(keys.asked_hosts());
        call.key(keys.api_keys()).key(keys.api_keys_version());
        let since = match asker {
            Asker::Refresh(since) => since.as_millis().to_string(),
            Asker::Client | Asker::Watcher => String::new(),
        };
        call.arg(value)
            .arg(host.as_str())
            .arg(millis(limits::SOURCE_SPACING))
            .arg(CALLS_PER_MINUTE);
        call.arg(u8::from(asker != Asker::Client)).arg(since).arg(millis(STATE_KEPT));
        let answer: Vec<redis::Value> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(read_taken(host, asker, &answer)?)
    }

    /// Notes what became of a call that ended at this moment of Redis' clock, for who waits; gives
    /// false where the lease is another's by now: then nothing is noted, and the next leader calls
    /// again. Where the source wants to be left alone, that is noted too.
    pub async fn note_source_call(
        &self,
        lease: &Lease,
        made: &SourceCall,
        ended_at: Timestamp,
        outcome: SourceOutcome,
        pause: Option<Duration>,
    ) -> Result<bool, HotError> {
        let Some(value) = lease.value() else { return Ok(false) };
        let (keys, host) = (&self.keys, &made.host);
        let start = match outcome {
            SourceOutcome::Answered { is_related: false } => made.start(),
            _ => String::new(),
        };
        let mut call = NOTE.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.source(host)).key(keys.asked_pairs(host));
        call.key(keys.source_keys(host)).key(keys.source_secrets(host)).key(keys.asked_hosts());
        call.key(keys.refused_pair(made.digest.as_str(), host)).key(keys.unrelated_keys());
        call.arg(value).arg(host.as_str()).arg(made.digest.as_str()).arg(&made.key);
        call.arg(u8::from(made.is_trial)).arg(outcome.name());
        call.arg(pause.map_or(0, millis))
            .arg(ended_at.as_millis())
            .arg(u8::from(made.is_refresh))
            .arg(start);
        call.arg(KEYS_MAX).arg(millis(REFUSED_FOR)).arg(millis(STATE_KEPT)).arg(millis(KEYS_KEPT));
        call.arg(millis(HEARD_WITHIN));
        let noted: u8 = self.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(noted == 1)
    }

    /// Some keys that the source accepted and Postgres does not know of yet.
    pub async fn find_unrelated_keys(&self) -> Result<Vec<UnrelatedKey>, HotError> {
        let found: Vec<(String, String)> = self
            .call(async |connection| {
                redis::cmd("HRANDFIELD")
                    .arg(self.keys.unrelated_keys())
                    .arg(RELATED_AT_ONCE)
                    .arg("WITHVALUES")
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(found.iter().filter_map(|(field, start)| read_unrelated(field, start)).collect())
    }

    /// Forgets a key that Postgres knows of by now.
    pub async fn forget_unrelated_key(&self, key: &UnrelatedKey) -> Result<(), HotError> {
        let field = format!("{} {}", key.digest, key.host);
        let mut command = redis::cmd("HDEL");
        command.arg(self.keys.unrelated_keys()).arg(field);
        self.call(async |connection| command.query_async::<()>(connection).await).await
    }
}

impl SourceCall {
    /// What the key begins with, to be recognised by: at most a quarter of it, and 8 characters.
    #[must_use]
    pub fn start(&self) -> String {
        let length = (self.key.chars().count() / 4).clamp(1, 8);
        self.key.chars().take(length).collect()
    }
}

fn read_taken(
    host: &Host,
    asker: Asker,
    answer: &[redis::Value],
) -> Result<Taken, redis::RedisError> {
    use redis::from_redis_value_ref as read;
    let wait = |value| read(value).map(Duration::from_millis);
    let [what, rest @ ..] = answer else { return Err(unexpected_answer("take_source_call")) };
    Ok(match (read(what)?, rest) {
        (0_u8, _) => Err(NoCall::NotLeading),
        (1, [left]) => Err(NoCall::TooSoon(wait(left)?)),
        (2, _) => Err(NoCall::NothingToDo),
        (3, [left]) => Err(NoCall::Paused(wait(left)?)),
        (4, [is_trial, _, key, now]) => {
            let key: String = read(key)?;
            let now: String = read(now)?;
            Ok(SourceCall {
                host: host.clone(),
                digest: KeyHash::of(&key),
                key,
                is_trial: read::<u8>(is_trial)? == 1,
                called_at: Timestamp::from_millis(
                    now.parse().map_err(|_| unexpected_answer("a time"))?,
                ),
                is_refresh: matches!(asker, Asker::Refresh(_)),
            })
        }
        _ => return Err(unexpected_answer("take_source_call")),
    })
}

fn read_unrelated(field: &str, start: &str) -> Option<UnrelatedKey> {
    let (digest, host) = field.split_once(' ')?;
    let host = Host::parse(host).ok()?;
    Some(UnrelatedKey { digest: KeyHash::from_hex(digest)?, start: start.to_owned(), host })
}
