//! Every key, in one place. All share a hash tag, so that a step is atomic on a cluster too, and
//! start with the prefix of the installation, so that two of them share a Redis.

use std::fmt;

use mayfly_core::{Host, MessageId};

use crate::stream::Stream;

/// The names of all keys of one installation.
#[derive(Debug, Clone)]
pub struct Keys {
    root: String,
}

impl Keys {
    /// The keys behind a prefix.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { root: format!("{prefix}:{{0}}:") }
    }

    fn key(&self, name: impl fmt::Display) -> String {
        format!("{}{name}", self.root)
    }

    /// Stream: accepted messages, takes and deletions, on their way to Postgres.
    #[must_use]
    pub fn messages(&self) -> String {
        self.key("messages")
    }

    /// Stream: accepted plays, on their way to be counted.
    #[must_use]
    pub fn plays(&self) -> String {
        self.key("plays")
    }

    /// Sorted set, video to count: all counts of Postgres.
    #[must_use]
    pub fn play_counts(&self) -> String {
        self.key("plays:counts")
    }

    /// Hash, video to ms: when its last play was counted.
    #[must_use]
    pub fn play_updates(&self) -> String {
        self.key("plays:updated")
    }

    /// Hash, video to count: counts as they were last published.
    #[must_use]
    pub fn plays_published(&self) -> String {
        self.key("plays:published")
    }

    /// Set: videos whose published count is not noted in Postgres yet.
    #[must_use]
    pub fn plays_unsaved(&self) -> String {
        self.key("plays:unsaved")
    }

    /// Set: videos with a small count that changed, to be published at once.
    #[must_use]
    pub fn plays_soon(&self) -> String {
        self.key("plays:soon")
    }

    /// Set: videos with a large count that changed, to be published at the next tick.
    #[must_use]
    pub fn plays_due(&self) -> String {
        self.key("plays:due")
    }

    /// Set: what was due when the present tick began.
    #[must_use]
    pub fn plays_due_now(&self) -> String {
        self.key("plays:due:now")
    }

    /// String: when the last tick was, in ms.
    #[must_use]
    pub fn plays_tick(&self) -> String {
        self.key("plays:tick")
    }

    /// Stream: the last frames of counts, which every ws-fanout reads.
    #[must_use]
    pub fn plays_frames(&self) -> String {
        self.key("plays:frames")
    }

    /// Hash, bucket to number of items: how long what is in a stream waited.
    #[must_use]
    pub fn consumption(&self, stream: Stream) -> String {
        self.key(format_args!("consumption:{}", stream.name()))
    }

    /// Hash, ws-fanout to what it says of itself.
    #[must_use]
    pub fn fanouts(&self) -> String {
        self.key("fanouts")
    }

    /// String with a time to live: the pulse as last published, JSON.
    #[must_use]
    pub fn pulse(&self) -> String {
        self.key("pulse")
    }

    /// Channel of pub/sub: the pulse, each time it is published.
    #[must_use]
    pub fn feed_pulse(&self) -> String {
        self.key("feed:pulse")
    }

    /// Sorted set, host to ms: hosts with visitors, by the last heartbeat.
    #[must_use]
    pub fn visited_hosts(&self) -> String {
        self.key("visits:hosts")
    }

    /// Hash with a time to live: which classes of a host's visitors are counted. Its other keys
    /// begin with this one: `:names`, and of each class `:p<class>`, `:c<class>`, `:v<class>`.
    #[must_use]
    pub fn visits(&self, host: &Host) -> String {
        self.key(format_args!("visits:{host}"))
    }

    /// String with a time to live: the newest sighting of a host, JSON.
    #[must_use]
    pub fn rising(&self, host: &Host) -> String {
        self.key(format_args!("rising:host:{host}"))
    }

    /// Channel of pub/sub: what rises on a host, each time it is sampled.
    #[must_use]
    pub fn feed_rising(&self) -> String {
        self.key("feed:rising")
    }

    /// Sorted set, host to ms: hosts that live clients watch, by when that was last said.
    #[must_use]
    pub fn watched_hosts(&self) -> String {
        self.key("rising:watched")
    }

    /// Sorted set, host to ms: hosts that are to be sampled, by when that was asked.
    #[must_use]
    pub fn asked_hosts(&self) -> String {
        self.key("rising:asked")
    }

    /// Hash with a time to live, digest of a key to `ms:key`: keys of the source that are to be tried
    /// for a host, by when that was asked.
    #[must_use]
    pub fn asked_pairs(&self, host: &Host) -> String {
        self.key(format_args!("rising:pairs:{host}"))
    }

    /// Hash with a time to live: what became of the last call of the source for a host.
    #[must_use]
    pub fn source(&self, host: &Host) -> String {
        self.key(format_args!("rising:source:{host}"))
    }

    /// Sorted set with a time to live, digest of a key to ms: keys that the source accepted for a host,
    /// by when it last did.
    #[must_use]
    pub fn source_keys(&self, host: &Host) -> String {
        self.key(format_args!("rising:keys:{host}"))
    }

    /// Hash with a time to live, digest of a key to the key itself: what the source is asked with.
    #[must_use]
    pub fn source_secrets(&self, host: &Host) -> String {
        self.key(format_args!("rising:secrets:{host}"))
    }

    /// Hash, `digest host` to the beginning of a key: what the source accepted and Postgres does not
    /// know yet.
    #[must_use]
    pub fn unrelated_keys(&self) -> String {
        self.key("rising:unrelated")
    }

    /// String with a time to live: the source refused a key (by its digest) for a host.
    #[must_use]
    pub fn refused_pair(&self, key_hash: &str, host: &Host) -> String {
        self.key(format_args!("rising:refused:{key_hash}:{host}"))
    }

    /// Hash, digest of an API key to what is known of it, JSON.
    #[must_use]
    pub fn api_keys(&self) -> String {
        self.key("keys")
    }

    /// Hash with a time to live: all API keys while they are being put, and who puts them.
    #[must_use]
    pub fn new_api_keys(&self) -> String {
        self.key("keys:new")
    }

    /// String: which version of the keys in Postgres that is; missing where they are not all there.
    #[must_use]
    pub fn api_keys_version(&self) -> String {
        self.key("keys:version")
    }

    /// String with a time to live: a message as clients see it.
    #[must_use]
    pub fn message(&self, id: MessageId) -> String {
        self.key(format_args!("message:{id}"))
    }

    /// Hash, id to entry of the stream: what is accepted and not yet stored.
    #[must_use]
    pub fn waiting(&self) -> String {
        self.key("waiting")
    }

    /// Hash, id to JSON: what is taken or deleted, where Postgres does not show it yet.
    #[must_use]
    pub fn taken(&self) -> String {
        self.key("taken")
    }

    /// Sorted set with a time to live: the ids of a username's live messages, by their end.
    #[must_use]
    pub fn inbox(&self, username: &str) -> String {
        self.key(format_args!("inbox:{username}"))
    }

    /// String: names the present past of the streams; changes when they lose it.
    #[must_use]
    pub fn epoch(&self) -> String {
        self.key("epoch")
    }

    /// Hash: how many were accepted in this epoch, and the newest entry of each stream.
    #[must_use]
    pub fn ledger(&self) -> String {
        self.key("ledger")
    }

    /// String with a time to live: how often Postgres refused an entry.
    #[must_use]
    pub fn attempts(&self, stream: Stream, entry_id: &str) -> String {
        match stream {
            Stream::Messages => self.key(format_args!("attempts:{entry_id}")),
            Stream::Plays => self.key(format_args!("attempts:plays:{entry_id}")),
        }
    }

    /// String with a time to live: what was done under a client's `Idempotency-Key`, in the first
    /// form of that. Neither routes nor IPv4 addresses have a colon, and only an IPv6 network ends
    /// in `/64`: no two requests make one key.
    #[must_use]
    pub fn idempotency(&self, route: &str, client: &str, key: &str) -> String {
        self.key(format_args!("idempotency:v1:{route}:{client}:{key}"))
    }

    /// String with a time to live: how many items of a kind a client sent in its present window.
    #[must_use]
    pub fn rate(&self, kind: &str, window_seconds: u64, client: &str) -> String {
        self.key(format_args!("rate:{kind}:{window_seconds}:{client}"))
    }

    /// String: the statistics as last published, JSON.
    #[must_use]
    pub fn stats(&self) -> String {
        self.key("stats")
    }

    /// String with a time to live: who leads a job.
    #[must_use]
    pub fn lease(&self, job: &str) -> String {
        self.key(format_args!("lease:{job}"))
    }

    /// String: the last token that was given out with the lease of a job.
    #[must_use]
    pub fn lease_token(&self, job: &str) -> String {
        self.key(format_args!("lease:{job}:token"))
    }

    /// Channel of pub/sub: the statistics, each time they are published.
    #[must_use]
    pub fn feed_stats(&self) -> String {
        self.key("feed:stats")
    }

    /// Channel of pub/sub: what was accepted, taken and deleted, for the live side.
    #[must_use]
    pub fn feed_messages(&self) -> String {
        self.key("feed:messages")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_share_a_prefix_and_a_hash_tag() {
        let keys = Keys::new("mayfly");
        assert_eq!(keys.messages(), "mayfly:{0}:messages");
        assert_eq!(keys.inbox("a}b{c:"), "mayfly:{0}:inbox:a}b{c:");
    }
}
