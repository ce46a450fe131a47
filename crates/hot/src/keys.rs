//! Every key, in one place. All share a hash tag, so that a step is atomic on a cluster too, and
//! start with the prefix of the installation, so that two of them share a Redis.

use std::fmt;

use mayfly_core::MessageId;

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
    pub fn attempts(&self, entry_id: &str) -> String {
        self.key(format_args!("attempts:{entry_id}"))
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
