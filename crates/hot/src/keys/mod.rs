//! The names of all Redis keys. Each key starts with the prefix of the installation, so that
//! several installations can share one Redis. All keys contain the same hash tag, because a Redis
//! cluster runs a script only if all of its keys are in one slot. The prefix contains no braces,
//! and names are encoded, so no name changes the slot of a key.
//!
//! Any two kinds of keys with the same number of parts have different fixed words in at least one
//! position. Together with the encoding of names, this ensures that no two keys collide.

mod encoding;
mod visits;

use mayfly_core::{Feed, Host, MessageId, StateFeed};

use self::encoding::{Part, append_parts};
pub use self::visits::VisitKeys;
use crate::queue::Stream;

/// The names of all keys of one installation. The documentation of each method describes the type
/// and the content of the key.
#[derive(Debug, Clone)]
pub struct Keys {
    root: String,
    /// The database number. Databases have separate keys but share their pub/sub channels.
    database: i64,
}

/// Defines the functions that return keys. Each key is a list of parts: a literal is a fixed word,
/// and an argument is an encoded name.
macro_rules! define_keys {
    ($(
        $(#[$doc:meta])*
        $visibility:vis $function:ident($($argument:ident: $type:ty),*) = $($part:tt)/+;
    )+) => {
        impl Keys {
            $(
                $(#[$doc])*
                #[must_use]
                $visibility fn $function(&self, $($argument: $type),*) -> String {
                    self.join(&[$(part!($part)),+])
                }
            )+
        }

        /// The parts of every kind of key; `None` represents a name.
        #[cfg(test)]
        const KINDS: &[(&str, &[Option<&str>])] =
            &[$((stringify!($function), &[$(kind!($part)),+])),+];
    };
}

macro_rules! part {
    ($word:literal) => {
        Part::Word($word)
    };
    ($name:ident) => {
        Part::Name(&$name)
    };
}

#[cfg(test)]
macro_rules! kind {
    ($word:literal) => {
        Some($word)
    };
    ($name:ident) => {
        None
    };
}

define_keys! {
    /// Stream: accepted messages, takes and deletions, to be stored in Postgres.
    pub messages() = "messages";

    /// Stream: accepted plays, to be counted.
    pub plays() = "plays";

    /// Sorted set, video to count: a mirror of the play counts in Postgres.
    pub play_counts() = "plays" / "counts";

    /// Hash, video to time in ms: when the last play of the video was counted.
    pub play_updates() = "plays" / "updated";

    /// Hash, video to count: the last published count.
    pub plays_published() = "plays" / "published";

    /// Set: videos with a published count that has not been saved in Postgres yet.
    pub plays_unsaved() = "plays" / "unsaved";

    /// Set: videos with a changed small count, which is published without waiting for a tick.
    pub plays_changed_small() = "plays" / "changed" / "small";

    /// Set: videos with a changed large count, which is published at the next tick.
    pub plays_changed_large() = "plays" / "changed" / "large";

    /// Set: videos to be published in the current tick.
    pub plays_publishing() = "plays" / "publishing";

    /// String: the time of the last tick, in ms.
    pub plays_tick() = "plays" / "tick";

    /// Stream: the latest frames with counts, which every ws-fanout process reads.
    pub plays_frames() = "plays" / "frames";

    consumption_of(stream: &str) = "consumption" / stream;

    /// Hash, name of a ws-fanout process to its last report.
    pub fanouts() = "fanouts";

    /// Sorted set with a TTL, host to time in ms: hosts with visitors, by the time of the last
    /// heartbeat.
    pub visited_hosts() = "visits" / "hosts";

    visits_prefix(host: &Host) = "visits" / host;

    /// Hash with a TTL, host to the [`owned_hosts`](Self::owned_hosts) key of its owner: the owners
    /// of the hosts with visitors.
    pub visited_host_owners() = "visits" / "owners";

    /// Sorted set with a TTL, host to time in ms: the visited hosts that a client owns, by the time
    /// of the client's last heartbeat for the host.
    pub owned_hosts(client: &str) = "visits" / "hosts" / "owned" / client;

    /// String with a TTL: the newest trend snapshot of a host, as JSON.
    pub rising(host: &Host) = "rising" / "host" / host;

    /// Sorted set with a TTL, host to time in ms: hosts that live clients watch and for which the
    /// visitor source has accepted a key, by the time of the last report.
    pub watched_hosts() = "rising" / "watched";

    /// Sorted set, host to time in ms: hosts for which callers requested a call to the visitor
    /// source, by the time of the first request.
    pub requested_hosts() = "rising" / "requested";

    /// Hash with a TTL, digest of a source key to `ms:key`: source keys to try for a host, each
    /// with the time at which a caller first sent the key.
    pub candidate_keys(host: &Host) = "rising" / "candidates" / host;

    /// Hash with a TTL: the state of the source calls for a host, including the outcome of the last
    /// call.
    pub source(host: &Host) = "rising" / "source" / host;

    /// Sorted set with a TTL, digest of a source key to time in ms: keys that the source accepted
    /// for a host, by the time of the last acceptance.
    pub source_keys(host: &Host) = "rising" / "keys" / host;

    /// Hash with a TTL, digest of a source key to the key itself.
    pub source_secrets(host: &Host) = "rising" / "secrets" / host;

    /// Hash, `digest host` to the first characters of a source key: accepted keys that have not
    /// been registered in Postgres yet.
    pub unregistered_keys() = "rising" / "unregistered";

    /// String with a TTL: exists if the source recently refused the source key with this digest for
    /// a host.
    pub refused_key(key_hash: &str, host: &Host) = "rising" / "refused" / key_hash / host;

    /// Hash, digest of an API key to its ID, rights and state, as JSON. If the hash is complete, a
    /// field with the empty name contains `format run_id token`: the format of the rows, the run ID
    /// of Redis, and the token of the reload.
    pub api_keys() = "keys";

    /// Hash with a TTL: the API keys that a reload in progress has loaded so far. The field with
    /// the empty name contains `token run_id`; the field `+`, a unique text if a key has been
    /// changed since the reload began.
    pub new_api_keys() = "keys" / "new";

    /// String: the loaded version of the API keys in Postgres, followed by `+` and a unique text if
    /// a key has been changed since; missing if the keys are not completely loaded.
    pub api_keys_version() = "keys" / "version";

    /// Hash: the revocations of tokens. `id:` and the ID of a token to an empty text; `sub:` and a
    /// subject to a time in ms before which the revoked tokens of the subject were issued. The
    /// field with the empty name is the same as in [`api_keys`](Self::api_keys).
    pub token_revocations() = "revocations";

    /// Hash with a TTL: the same as [`new_api_keys`](Self::new_api_keys), for the revocations.
    pub new_token_revocations() = "revocations" / "new";

    /// String: the same as [`api_keys_version`](Self::api_keys_version), for the revocations.
    pub token_revocations_version() = "revocations" / "version";

    /// String with a TTL: the hot copy of a message, as clients receive it.
    pub message(id: MessageId) = "message" / id;

    /// Hash, message ID to stream entry ID: accepted messages that have not been stored in Postgres
    /// yet.
    pub waiting() = "waiting";

    /// Hash, message ID to JSON: taken and deleted messages whose new expiry time has not been
    /// stored in Postgres yet.
    pub taken() = "taken";

    /// Sorted set with a TTL: the IDs of the messages in a username's inbox, by expiry time.
    pub inbox(username: &str) = "inbox" / username;

    /// String: the name of the current epoch. A new epoch begins after the streams have lost data.
    pub epoch() = "epoch";

    /// Hash: for each stream, the number of items accepted in the current epoch and the newest
    /// entry; the number of plays that have not been processed yet; the processes that accept
    /// items, and their reports about ended epochs; the progress of restoring Redis from Postgres.
    pub ledger() = "ledger";

    message_attempts(entry_id: &str) = "attempts" / entry_id;

    play_attempts(entry_id: &str) = "attempts" / "plays" / entry_id;

    /// String with a TTL: the outcome stored under a client's `Idempotency-Key`, in format 1.
    pub idempotency(route: &str, client: &str, key: &str) =
        "idempotency" / "v1" / route / client / key;

    /// String with a TTL: the number of items of one kind that were accepted from a client in the
    /// current window.
    pub rate(kind: &str, window_seconds: u64, client: &str) =
        "rate" / kind / window_seconds / client;

    /// String with a TTL: the fencing token and the holder of the lease for a job.
    pub lease(job: &str) = "lease" / job;

    /// String: the last fencing token that was issued with the lease for a job.
    pub lease_token(job: &str) = "lease" / job / "token";

    /// String with a TTL: the key that the health check writes.
    pub probe() = "probe";

    /// A key that never exists. The health check runs commands on this key that change nothing.
    pub probe_missing() = "probe" / "missing";

    /// Pub/sub channel without subscribers: the publications of the health check.
    pub probe_channel() = "feed" / "probe" / "health";

    stats_state() = "stats";

    pulse_state() = "pulse";

    feed_of_first_database(feed: &str) = "feed" / feed;

    feed_of_database(feed: &str, database: i64) = "feed" / feed / "database" / database;
}

impl Keys {
    /// Returns the key names of the installation with this prefix in this database.
    #[must_use]
    pub fn new(prefix: &str, database: i64) -> Self {
        Self { root: format!("{prefix}:{{0}}:"), database }
    }

    fn join(&self, parts: &[Part<'_>]) -> String {
        let mut key = String::with_capacity(self.root.len() + 64);
        key.push_str(&self.root);
        append_parts(&mut key, parts);
        key
    }

    /// Returns the key of a stream.
    #[must_use]
    pub fn stream(&self, stream: Stream) -> String {
        match stream {
            Stream::Messages => self.messages(),
            Stream::Plays => self.plays(),
        }
    }

    /// Hash, bucket to number of items: a histogram of the times from the acceptance of an item to
    /// its consumption by a worker; also the sum of these times, and the time of the latest item
    /// and how long this item waited.
    #[must_use]
    pub fn consumption(&self, stream: Stream) -> String {
        self.consumption_of(stream.name())
    }

    /// Returns the keys of a host's visits.
    #[must_use]
    pub fn visits(&self, host: &Host) -> VisitKeys {
        VisitKeys::new(self.visits_prefix(host))
    }

    /// String with a TTL: the number of failed attempts to process an entry.
    #[must_use]
    pub fn attempts(&self, stream: Stream, entry_id: &str) -> String {
        match stream {
            Stream::Messages => self.message_attempts(entry_id),
            Stream::Plays => self.play_attempts(entry_id),
        }
    }

    /// String: the last published state of a feed, as JSON. The key has a TTL if the states of the
    /// feed expire.
    #[must_use]
    pub fn state(&self, feed: StateFeed) -> String {
        match feed {
            StateFeed::Stats => self.stats_state(),
            StateFeed::Pulse => self.pulse_state(),
        }
    }

    /// Pub/sub channel: the publications of a feed. The channel of `plays` is unused, because the
    /// frames with play counts are written to a stream. All databases of a Redis server share their
    /// channels, so the channel names of every database except 0 contain the database number.
    #[must_use]
    pub fn feed(&self, feed: Feed) -> String {
        match self.database {
            0 => self.feed_of_first_database(feed.as_str()),
            database => self.feed_of_database(feed.as_str(), database),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use mayfly_core::trends::CLASSES;
    use proptest::{prelude::*, sample::select};

    use super::{encoding::split_parts, *};

    /// The kind of all visit keys, which have three parts. The last part is a word from
    /// [`VisitKeys`].
    const VISITS: (&str, &[Option<&str>]) = ("visits", &[Some("visits"), None, None]);

    fn keys() -> Keys {
        Keys::new("mayfly", 0)
    }

    fn host(name: &str) -> Host {
        Host::parse(name).expect("a host")
    }

    /// Returns the kinds of keys. [`VISITS`] replaces the common prefix of the visit keys, which is
    /// not a key.
    fn kinds() -> Vec<(&'static str, &'static [Option<&'static str>])> {
        let is_key = |(name, _): &(&str, &[Option<&str>])| *name != "visits_prefix";
        KINDS.iter().copied().filter(is_key).chain([VISITS]).collect()
    }

    /// Returns a key of this kind that contains these names.
    fn key_of(kind: &[Option<&'static str>], names: &[String]) -> String {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut names = names.iter();
        let part = |word: Option<&'static str>| match word {
            Some(word) => Part::Word(word),
            None => Part::Name(names.next().expect("enough names")),
        };
        let parts: Vec<_> = kind.iter().copied().map(part).collect();
        keys().join(&parts)
    }

    /// Returns the cluster slot of a key, as the Redis cluster specification defines it: the CRC16
    /// of the text between the first `{` and the next `}`, modulo 16384.
    fn slot(key: &str) -> u16 {
        let tag = key
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'))
            .map(|(tag, _)| tag)
            .filter(|tag| !tag.is_empty())
            .unwrap_or(key);
        let crc = tag.bytes().fold(0_u16, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            })
        });
        crc % 16_384
    }

    /// Generates names, many of which contain colons, braces or words that occur in keys.
    fn name() -> impl Strategy<Value = String> {
        const WORDS: &[&str] = &[
            "hosts",
            "names",
            "state",
            "p0",
            "v0",
            "owned",
            "owners",
            "token",
            "plays",
            "host",
            "new",
            "%3A",
            "database",
            "0",
            ":",
            "::",
            "a:names",
            "zz:v0",
            "hosts:owned:a",
            "{1}",
            "}",
            "a}b{c",
        ];
        prop_oneof![select(WORDS).prop_map(str::to_owned), "[a:%{}]{0,5}", ".{0,12}"]
    }

    #[test]
    fn all_keys_share_a_prefix_and_a_hash_tag() {
        let keys = keys();
        assert_eq!(keys.messages(), "mayfly:{0}:messages");
        assert_eq!(keys.state(StateFeed::Stats), "mayfly:{0}:stats");
        assert_eq!(keys.feed(Feed::Messages), "mayfly:{0}:feed:messages");
        assert_eq!(keys.inbox("Fred B."), "mayfly:{0}:inbox:Fred B.");
        assert_eq!(keys.inbox("a}b{c:"), "mayfly:{0}:inbox:a%7Db%7Bc%3A");
        assert_eq!(keys.visits(&host("a.org:80")).names(), "mayfly:{0}:visits:a.org%3A80:names");
    }

    #[test]
    fn kinds_with_the_same_number_of_parts_differ_in_a_fixed_word() {
        let kinds = kinds();
        for (index, (one, words)) in kinds.iter().enumerate() {
            for (other, others) in &kinds[..index] {
                let mut pairs = words.iter().zip(*others);
                let differ =
                    pairs.any(|(word, other)| word.is_some() && other.is_some() && word != other);
                let is_distinct = words.len() != others.len() || differ;
                assert!(is_distinct, "{one} and {other} can have the same key");
            }
        }
    }

    #[test]
    fn keys_of_one_host_are_distinct() {
        let keys = keys().visits(&host("a.org"));
        let per_class = (0..CLASSES)
            .flat_map(|class| [keys.visits(class), keys.page_counts(class), keys.visitors(class)]);
        let all: Vec<_> = per_class.chain([keys.state(), keys.names()]).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }

    #[test]
    fn channels_of_databases_are_distinct() {
        let channels = |database| Feed::ALL.map(|feed| Keys::new("mayfly", database).feed(feed));
        let all: HashSet<_> = [0, 1, 15].into_iter().flat_map(channels).collect();
        assert_eq!(all.len(), 15);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn different_kinds_or_names_have_different_keys(
            one in select(kinds()), other in select(kinds()),
            names in [name(), name(), name()], other_names in [name(), name(), name()],
        ) {
            let count = |kind: &[Option<&str>]| kind.iter().filter(|word| word.is_none()).count();
            let (names, other_names) = (&names[..count(one.1)], &other_names[..count(other.1)]);
            let is_same = one.0 == other.0 && names == other_names;
            prop_assert_eq!(key_of(one.1, names) == key_of(other.1, other_names), is_same);
        }

        #[test]
        fn key_round_trips_to_its_kind_and_names(
            kind in select(kinds()), names in [name(), name(), name()],
        ) {
            let key = key_of(kind.1, &names);
            let parts = split_parts(key.strip_prefix("mayfly:{0}:").expect("the root"));
            let mut names = names.into_iter();
            let expected: Vec<_> = kind.1.iter().map(|word| match word {
                Some(word) => (*word).to_owned(),
                None => names.next().expect("enough names"),
            }).collect();
            prop_assert_eq!(parts, Some(expected));
        }

        #[test]
        fn no_name_changes_the_slot(kind in select(kinds()), names in [name(), name(), name()]) {
            prop_assert_eq!(slot(&key_of(kind.1, &names)), slot("{0}"));
        }
    }
}
