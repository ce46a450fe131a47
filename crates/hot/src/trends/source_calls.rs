//! Decides on calls to the visitor source and records their outcomes, for the elected publisher.

use std::{fmt, time::Duration};

use deadpool_redis::redis;
use mayfly_core::{Host, KeyHash, Timestamp, limits};

use crate::{
    access::API_KEYS_FORMAT,
    connection::{HotError, millis, script, unexpected_reply},
    lease::Lease,
    trends::{
        parse_hosts,
        source::{STATE_TTL, Source},
    },
};

script!(
    TAKE,
    "#!lua\n",
    include_str!("../access/mirror.lua"),
    include_str!("take_source_call.lua"),
);
script!(RECORD, include_str!("record_source_call.lua"));

/// The assumed maximum time between the recording of a call and the call's arrival at the source.
const ARRIVAL_DELAY_MAX: Duration = Duration::from_secs(1);
/// The maximum number of calls for a host per clock minute.
const CALLS_PER_MINUTE: u32 = 200;
/// The maximum number of accepted keys for a host.
const ACCEPTED_KEYS_MAX: usize = 100;
/// The time to live of a host's accepted keys after the source last accepted one of them.
const ACCEPTED_KEYS_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long the refusal of a key for a host is stored.
const REFUSAL_TTL: Duration = Duration::from_secs(60);

/// The reason for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallReason {
    /// A caller requested the call.
    Requested,
    /// A client watches the host.
    Watched,
    /// A periodic refresh, which is due only if the host has not been refreshed since this time.
    Refresh(Timestamp),
}

/// A call to make immediately. The call has already been recorded as made.
#[derive(Clone)]
pub struct SourceCall {
    /// The host to sample.
    pub host: Host,
    /// The key to authenticate with; never logged.
    pub key: String,
    /// The digest of the key.
    pub digest: KeyHash,
    /// Whether the key is a candidate that is not known to be valid for this host.
    pub is_trial: bool,
    /// The time when the call was recorded, according to the Redis clock.
    pub called_at: Timestamp,
    /// Whether the reason is [`CallReason::Refresh`].
    pub is_refresh: bool,
}

impl fmt::Debug for SourceCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut call = formatter.debug_struct("SourceCall");
        call.field("host", &self.host).field("is_trial", &self.is_trial).finish_non_exhaustive()
    }
}

impl SourceCall {
    /// Returns the first quarter of the key's characters, but at least 1 and at most 8 characters,
    /// so that people can recognize the key.
    #[must_use]
    pub fn key_start(&self) -> String {
        let length = (self.key.chars().count() / 4).clamp(1, limits::API_KEY_START_CHARS);
        self.key.chars().take(length).collect()
    }
}

/// The reason not to make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallDenied {
    /// The lease was lost.
    NotLeader,
    /// No call is allowed yet. The publisher can retry after this delay.
    TooSoon(Duration),
    /// There is no key to call with, or no reason for a call.
    NothingToDo,
    /// The source must not be called until this delay has passed. The callers that requested the
    /// call receive a failure.
    Paused(Duration),
}

/// The call to make, or the reason not to make a call.
pub type CallDecision = Result<SourceCall, CallDenied>;

/// The outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceOutcome {
    /// The source answered, and the answer has been published.
    Answered {
        /// Whether the key is registered for the host in Postgres.
        is_registered: bool,
    },
    /// The source refused the host: a 4xx status other than 401, 403 and 429.
    Refused,
    /// The source refused the key: 401 or 403.
    Forbidden,
    /// The call failed for another reason.
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

impl Source<'_> {
    /// Lists hosts with requested calls, in the order of their first requests. O(n) for n hosts.
    pub async fn list_requested_hosts(self) -> Result<Vec<Host>, HotError> {
        let hosts = self
            .store
            .call(async |connection| {
                redis::cmd("ZRANGE")
                    .arg(self.store.keys.requested_hosts())
                    .arg(0)
                    .arg(limits::WATCHED_HOSTS_MAX)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(parse_hosts(hosts))
    }

    /// Decides whether to call the source for a host now, and with which key. If so, records the
    /// call, which then counts as made even if this process crashes. O(k) for k keys of the host.
    pub async fn take_call(
        self,
        lease: &Lease,
        host: &Host,
        reason: CallReason,
    ) -> Result<CallDecision, HotError> {
        let Some(value) = lease.value() else { return Ok(Err(CallDenied::NotLeader)) };
        let keys = &self.store.keys;
        let mut call = TAKE.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.source(host)).key(keys.candidate_keys(host));
        call.key(keys.source_keys(host)).key(keys.source_secrets(host)).key(keys.requested_hosts());
        call.key(keys.api_keys()).key(keys.api_keys_version());
        let since = match reason {
            CallReason::Refresh(since) => since.as_millis().to_string(),
            CallReason::Requested | CallReason::Watched => String::new(),
        };
        call.arg(value).arg(host.as_str());
        call.arg(millis(limits::SOURCE_CALL_INTERVAL)).arg(CALLS_PER_MINUTE);
        call.arg(u8::from(reason != CallReason::Requested)).arg(since).arg(millis(STATE_TTL));
        call.arg(millis(limits::SOURCE_PAUSE_MAX)).arg(API_KEYS_FORMAT);
        let reply: Vec<redis::Value> =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(parse_decision(host, reason, &reply)?)
    }

    /// Records the outcome of a call that ended at `ended_at` according to the Redis clock, and a
    /// pause if the source requests one. If the lease was lost, returns false and records nothing.
    /// The next leader then repeats a requested call. O(k log k + log n) for k keys of the host and
    /// n requested hosts.
    pub async fn record_call(
        self,
        lease: &Lease,
        made: &SourceCall,
        ended_at: Timestamp,
        outcome: SourceOutcome,
        pause: Option<Duration>,
    ) -> Result<bool, HotError> {
        let Some(value) = lease.value() else { return Ok(false) };
        let (keys, host) = (&self.store.keys, &made.host);
        let key_start = match outcome {
            SourceOutcome::Answered { is_registered: false } => made.key_start(),
            _ => String::new(),
        };
        let mut call = RECORD.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.source(host)).key(keys.candidate_keys(host));
        call.key(keys.source_keys(host)).key(keys.source_secrets(host)).key(keys.requested_hosts());
        call.key(keys.refused_key(made.digest.as_str(), host)).key(keys.unregistered_keys());
        call.arg(value).arg(host.as_str()).arg(made.digest.as_str()).arg(&made.key);
        call.arg(u8::from(made.is_trial)).arg(outcome.name()).arg(pause.map_or(0, millis));
        call.arg(ended_at.as_millis()).arg(u8::from(made.is_refresh)).arg(key_start);
        call.arg(ACCEPTED_KEYS_MAX).arg(millis(REFUSAL_TTL)).arg(millis(STATE_TTL));
        call.arg(millis(ACCEPTED_KEYS_TTL)).arg(millis(ARRIVAL_DELAY_MAX));
        let is_recorded: u8 =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(is_recorded == 1)
    }
}

fn parse_decision(
    host: &Host,
    reason: CallReason,
    reply: &[redis::Value],
) -> Result<CallDecision, redis::RedisError> {
    use redis::from_redis_value_ref as parse;
    let wait = |value| parse(value).map(Duration::from_millis);
    let [decision, rest @ ..] = reply else { return Err(unexpected_reply("take_source_call")) };
    Ok(match (parse(decision)?, rest) {
        (0_u8, _) => Err(CallDenied::NotLeader),
        (1, [left]) => Err(CallDenied::TooSoon(wait(left)?)),
        (2, _) => Err(CallDenied::NothingToDo),
        (3, [left]) => Err(CallDenied::Paused(wait(left)?)),
        (4, [is_trial, _, key, now]) => {
            let key: String = parse(key)?;
            let now: String = parse(now)?;
            Ok(SourceCall {
                host: host.clone(),
                digest: KeyHash::from_key(&key),
                key,
                is_trial: parse::<u8>(is_trial)? == 1,
                called_at: Timestamp::from_millis(
                    now.parse().map_err(|_| unexpected_reply("take_source_call: time"))?,
                ),
                is_refresh: matches!(reason, CallReason::Refresh(_)),
            })
        }
        _ => return Err(unexpected_reply("take_source_call")),
    })
}
