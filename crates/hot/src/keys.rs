//! The names of all keys. They start with the prefix of the installation, so that several can share
//! a Redis, and have the same hash tag, so that scripts are atomic on a cluster too.

use std::fmt;

use mayfly_core::{Feed, Host, MessageId, StateFeed};

use crate::queue::Stream;

/// The names of all keys of one installation.
#[derive(Debug, Clone)]
pub struct Keys {
    root: String,
}

impl Keys {
    /// Returns the keys of the installation with this prefix.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { root: format!("{prefix}:{{0}}:") }
    }

    fn key(&self, name: impl fmt::Display) -> String {
        format!("{}{name}", self.root)
    }

    /// Returns the key of a stream.
    #[must_use]
    pub fn stream(&self, stream: Stream) -> String {
        match stream {
            Stream::Messages => self.messages(),
            Stream::Plays => self.plays(),
        }
    }

    /// Stream: accepted messages, takes and deletions, to be stored in Postgres.
    #[must_use]
    pub fn messages(&self) -> String {
        self.key("messages")
    }

    /// Stream: accepted plays, to be counted.
    #[must_use]
    pub fn plays(&self) -> String {
        self.key("plays")
    }

    /// Sorted set, video to count: a mirror of the play counts in Postgres.
    #[must_use]
    pub fn play_counts(&self) -> String {
        self.key("plays:counts")
    }

    /// Hash, video to ms: the time at which its last play was counted.
    #[must_use]
    pub fn play_updates(&self) -> String {
        self.key("plays:updated")
    }

    /// Hash, video to count: the count as last published.
    #[must_use]
    pub fn plays_published(&self) -> String {
        self.key("plays:published")
    }

    /// Set: videos whose published count is not saved in Postgres yet.
    #[must_use]
    pub fn plays_unsaved(&self) -> String {
        self.key("plays:unsaved")
    }

    /// Set: videos with a small count that changed and is published immediately.
    #[must_use]
    pub fn plays_changed_small(&self) -> String {
        self.key("plays:changed:small")
    }

    /// Set: videos with a large count that changed and is published at the next tick.
    #[must_use]
    pub fn plays_changed_large(&self) -> String {
        self.key("plays:changed:large")
    }

    /// Set: videos to be published in the current tick.
    #[must_use]
    pub fn plays_publishing(&self) -> String {
        self.key("plays:publishing")
    }

    /// String: the time of the last tick in ms.
    #[must_use]
    pub fn plays_tick(&self) -> String {
        self.key("plays:tick")
    }

    /// Stream: the latest frames of counts, which every ws-fanout reads.
    #[must_use]
    pub fn plays_frames(&self) -> String {
        self.key("plays:frames")
    }

    /// Hash, bucket to number of items: the consumption times of a stream.
    #[must_use]
    pub fn consumption(&self, stream: Stream) -> String {
        self.key(format_args!("consumption:{}", stream.name()))
    }

    /// Hash, name of a ws-fanout to its last report.
    #[must_use]
    pub fn fanouts(&self) -> String {
        self.key("fanouts")
    }

    /// Sorted set, host to ms: hosts with visitors, by the last heartbeat.
    #[must_use]
    pub fn visited_hosts(&self) -> String {
        self.key("visits:hosts")
    }

    /// Hash with a TTL: the classes of a host's visitors that are counted. The other keys of the
    /// host begin with this one: `:names`, and per class `:p<class>`, `:c<class>` and `:v<class>`.
    #[must_use]
    pub fn visits(&self, host: &Host) -> String {
        self.key(format_args!("visits:{host}"))
    }

    /// String with a TTL: the newest trend snapshot of a host, JSON.
    #[must_use]
    pub fn rising(&self, host: &Host) -> String {
        self.key(format_args!("rising:host:{host}"))
    }

    /// Sorted set, host to ms: hosts that live clients watch, by the last report.
    #[must_use]
    pub fn watched_hosts(&self) -> String {
        self.key("rising:watched")
    }

    /// Sorted set, host to ms: hosts that callers request to be sampled, by the first request.
    #[must_use]
    pub fn requested_hosts(&self) -> String {
        self.key("rising:requested")
    }

    /// Hash with a TTL, digest of a source key to `ms:key`: keys to be tried for a host, by the
    /// time of the request.
    #[must_use]
    pub fn candidate_keys(&self, host: &Host) -> String {
        self.key(format_args!("rising:candidates:{host}"))
    }

    /// Hash with a TTL: the outcome of the last source call for a host.
    #[must_use]
    pub fn source(&self, host: &Host) -> String {
        self.key(format_args!("rising:source:{host}"))
    }

    /// Sorted set with a TTL, digest of a source key to ms: keys that the source accepted for a
    /// host, by the last time.
    #[must_use]
    pub fn source_keys(&self, host: &Host) -> String {
        self.key(format_args!("rising:keys:{host}"))
    }

    /// Hash with a TTL, digest of a source key to the key itself.
    #[must_use]
    pub fn source_secrets(&self, host: &Host) -> String {
        self.key(format_args!("rising:secrets:{host}"))
    }

    /// Hash, `digest host` to the beginning of a source key: accepted keys that are not registered
    /// in Postgres yet.
    #[must_use]
    pub fn unregistered_keys(&self) -> String {
        self.key("rising:unregistered")
    }

    /// String with a TTL: exists if the source refused a key (by its digest) for a host.
    #[must_use]
    pub fn refused_key(&self, key_hash: &str, host: &Host) -> String {
        self.key(format_args!("rising:refused:{key_hash}:{host}"))
    }

    /// Hash, digest of an API key to its hosts and state, JSON.
    #[must_use]
    pub fn api_keys(&self) -> String {
        self.key("keys")
    }

    /// Hash with a TTL: the API keys of a reload in progress, and its token.
    #[must_use]
    pub fn new_api_keys(&self) -> String {
        self.key("keys:new")
    }

    /// String: the version of the API keys in Postgres; missing if they are not completely loaded.
    #[must_use]
    pub fn api_keys_version(&self) -> String {
        self.key("keys:version")
    }

    /// String with a TTL: the hot copy of a message, as clients receive it.
    #[must_use]
    pub fn message(&self, id: MessageId) -> String {
        self.key(format_args!("message:{id}"))
    }

    /// Hash, message ID to stream entry: accepted messages that are not stored yet.
    #[must_use]
    pub fn waiting(&self) -> String {
        self.key("waiting")
    }

    /// Hash, message ID to JSON: taken and deleted messages whose new expiry time is not in
    /// Postgres yet.
    #[must_use]
    pub fn taken(&self) -> String {
        self.key("taken")
    }

    /// Sorted set with a TTL: the IDs of a username's live messages, by expiry time.
    #[must_use]
    pub fn inbox(&self, username: &str) -> String {
        self.key(format_args!("inbox:{username}"))
    }

    /// String: the epoch, which changes whenever the streams lose data.
    #[must_use]
    pub fn epoch(&self) -> String {
        self.key("epoch")
    }

    /// Hash: the number of items accepted in the epoch and the newest entry, per stream.
    #[must_use]
    pub fn ledger(&self) -> String {
        self.key("ledger")
    }

    /// String with a TTL: the number of failed attempts to process an entry.
    #[must_use]
    pub fn attempts(&self, stream: Stream, entry_id: &str) -> String {
        match stream {
            Stream::Messages => self.key(format_args!("attempts:{entry_id}")),
            Stream::Plays => self.key(format_args!("attempts:plays:{entry_id}")),
        }
    }

    /// String with a TTL: the outcome stored under a client's `Idempotency-Key`, in format 1.
    /// Unambiguous, because neither routes nor IPv4 addresses contain a colon, and only an IPv6
    /// network ends in `/64`.
    #[must_use]
    pub fn idempotency(&self, route: &str, client: &str, key: &str) -> String {
        self.key(format_args!("idempotency:v1:{route}:{client}:{key}"))
    }

    /// String with a TTL: the number of items of a kind that a client sent in the current window.
    #[must_use]
    pub fn rate(&self, kind: &str, window_seconds: u64, client: &str) -> String {
        self.key(format_args!("rate:{kind}:{window_seconds}:{client}"))
    }

    /// String with a TTL: the holder of the lease of a job.
    #[must_use]
    pub fn lease(&self, job: &str) -> String {
        self.key(format_args!("lease:{job}"))
    }

    /// String: the last fencing token of the lease of a job.
    #[must_use]
    pub fn lease_token(&self, job: &str) -> String {
        self.key(format_args!("lease:{job}:token"))
    }

    /// String: the state of a feed as last published, JSON. With a TTL if the feed has one.
    #[must_use]
    pub fn state(&self, feed: StateFeed) -> String {
        self.key(feed.feed().as_str())
    }

    /// Pub/sub channel: the publications of a feed. That of `plays` is unused: its frames are a
    /// stream.
    #[must_use]
    pub fn feed(&self, feed: Feed) -> String {
        self.key(format_args!("feed:{}", feed.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_share_a_prefix_and_a_hash_tag() {
        let keys = Keys::new("mayfly");
        assert_eq!(keys.messages(), "mayfly:{0}:messages");
        assert_eq!(keys.state(StateFeed::Stats), "mayfly:{0}:stats");
        assert_eq!(keys.feed(Feed::Messages), "mayfly:{0}:feed:messages");
        assert_eq!(keys.inbox("a}b{c:"), "mayfly:{0}:inbox:a}b{c:");
    }
}
