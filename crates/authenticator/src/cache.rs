//! The cache of accepted credentials.

use std::collections::HashMap;

use mayfly_auth::{Identity, Names};
use parking_lot::Mutex;

/// The SHA-256 digest of credentials.
pub(crate) type Digest = [u8; 32];

/// The maximum number of entries.
const ENTRIES_MAX: usize = 32_768;
/// The maximum total weight of the entries, in bytes.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// The number of shards, which have separate locks.
const SHARDS: usize = 16;
/// The maximum number of entries in each of the two maps of a shard.
const MAP_ENTRIES_MAX: usize = ENTRIES_MAX / SHARDS / 2;
/// The maximum weight of each of the two maps of a shard.
const MAP_BYTES_MAX: usize = BYTES_MAX / SHARDS / 2;
/// The approximate size of an entry without its patterns, in bytes.
const ENTRY_BYTES: usize = 512;
/// The approximate size of a pattern without its text, in bytes.
const PATTERN_BYTES: usize = 32;

/// A cache entry: an identity, and the generation of the keys or tokens in which the identity was
/// checked.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) identity: Identity,
    pub(crate) generation: u64,
}

/// A bounded cache. Only accepted credentials are stored, so callers with invalid credentials
/// cannot displace others.
///
/// Each shard has two maps. If the map with recent entries is full, it replaces the map with older
/// entries. An older entry that is used becomes recent again. Therefore an entry that is used often
/// enough stays in the cache.
pub(crate) struct Cache {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    recent: HashMap<Digest, Entry>,
    older: HashMap<Digest, Entry>,
    /// The total weight of the recent entries.
    recent_bytes: usize,
}

impl Cache {
    /// Creates an empty cache.
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Returns the entry of the credentials with this digest.
    pub(crate) fn find(&self, digest: &Digest) -> Option<Entry> {
        let mut shard = self.shard(digest).lock();
        if let Some(entry) = shard.recent.get(digest) {
            return Some(entry.clone());
        }
        let entry = shard.older.remove(digest)?;
        shard.insert(*digest, entry.clone());
        Some(entry)
    }

    /// Returns whether credentials with this digest are stored, current or not.
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        let shard = self.shard(digest).lock();
        shard.recent.contains_key(digest) || shard.older.contains_key(digest)
    }

    /// Removes the entry of the credentials with this digest.
    pub(crate) fn remove(&self, digest: &Digest) {
        let mut shard = self.shard(digest).lock();
        shard.older.remove(digest);
        if let Some(removed) = shard.recent.remove(digest) {
            shard.recent_bytes -= weigh(&removed.identity).min(shard.recent_bytes);
        }
    }

    /// Stores accepted credentials.
    pub(crate) fn insert(&self, digest: Digest, entry: Entry) {
        let mut shard = self.shard(&digest).lock();
        shard.older.remove(&digest);
        shard.insert(digest, entry);
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        let sizes = self.shards.iter().map(|shard| {
            let shard = shard.lock();
            shard.recent.len() + shard.older.len()
        });
        sizes.sum()
    }

    fn shard(&self, digest: &Digest) -> &Mutex<Shard> {
        &self.shards[usize::from(digest[0]) % SHARDS]
    }
}

impl Shard {
    fn insert(&mut self, digest: Digest, entry: Entry) {
        let bytes = weigh(&entry.identity);
        if self.recent.len() >= MAP_ENTRIES_MAX || self.recent_bytes + bytes > MAP_BYTES_MAX {
            self.replace_older();
        }
        let replaced = self.recent.insert(digest, entry);
        self.recent_bytes += bytes;
        if let Some(replaced) = replaced {
            self.recent_bytes -= weigh(&replaced.identity).min(self.recent_bytes);
        }
    }

    fn replace_older(&mut self) {
        self.older = std::mem::take(&mut self.recent);
        self.recent_bytes = 0;
    }
}

/// Returns the approximate size of an identity in bytes.
fn weigh(identity: &Identity) -> usize {
    let lists = match identity {
        Identity::Open | Identity::Anonymous(_) => return ENTRY_BYTES,
        Identity::Key(key) => [Some(&key.channels), Some(&key.usernames), Some(&key.hosts), None],
        Identity::Token(token) => {
            let rights = &token.rights;
            [&rights.publish, &rights.subscribe, &rights.hosts, &rights.visits].map(Some)
        }
    };
    let patterns = lists.into_iter().flatten().filter_map(Names::patterns).flatten();
    ENTRY_BYTES + patterns.map(|pattern| PATTERN_BYTES + pattern.as_str().len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mayfly_auth::{Key, KeyLimits, Pattern, Scopes};
    use uuid::Uuid;

    use super::*;

    fn digest(number: usize) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        digest
    }

    fn entry(generation: u64) -> Entry {
        Entry { identity: Identity::Anonymous(Scopes::EMPTY), generation }
    }

    fn key_with_hosts(count: usize) -> Identity {
        let hosts = (0..count).map(|number| format!("{number:0>200}.example.org"));
        let patterns = hosts.map(|host| Pattern::parse(host).expect("a pattern"));
        Identity::Key(Arc::new(Key {
            id: Uuid::nil(),
            scopes: Scopes::EMPTY,
            channels: Names::none(),
            usernames: Names::none(),
            hosts: Names::from(patterns.collect::<Vec<_>>()),
            limits: KeyLimits::default(),
            expires_at: None,
            is_revoked: false,
        }))
    }

    #[test]
    fn entry_is_found_until_it_is_replaced() {
        let cache = Cache::new();
        assert!(cache.find(&digest(1)).is_none());
        cache.insert(digest(1), entry(1));
        cache.insert(digest(1), entry(2));
        assert_eq!(cache.find(&digest(1)).map(|entry| entry.generation), Some(2));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn removed_entry_has_no_weight() {
        let cache = Cache::new();
        let identity = key_with_hosts(1_000);
        assert!(!cache.contains(&digest(1)));
        for _ in 0..BYTES_MAX / weigh(&identity) {
            cache.insert(digest(1), Entry { identity: identity.clone(), generation: 0 });
            assert!(cache.contains(&digest(1)));
            cache.remove(&digest(1));
            assert!(!cache.contains(&digest(1)) && cache.find(&digest(1)).is_none());
        }
        assert_eq!(cache.shard(&digest(1)).lock().recent_bytes, 0);
        // An older entry.
        cache.insert(digest(1), entry(0));
        cache.shard(&digest(1)).lock().replace_older();
        assert!(cache.contains(&digest(1)));
        cache.remove(&digest(1));
        assert!(!cache.contains(&digest(1)));
    }

    #[test]
    fn number_of_entries_is_bounded_and_used_entries_stay() {
        let cache = Cache::new();
        for number in 0..4 * ENTRIES_MAX {
            cache.insert(digest(number), entry(0));
            assert!(cache.find(&digest(0)).is_some(), "{number}");
        }
        assert!(cache.len() <= ENTRIES_MAX, "{}", cache.len());
        assert!(cache.len() > ENTRIES_MAX / 4, "{}", cache.len());
        assert!(cache.find(&digest(1)).is_none());
    }

    #[test]
    fn weight_of_the_entries_is_bounded() {
        let cache = Cache::new();
        let identity = key_with_hosts(1_000);
        let bytes = weigh(&identity);
        assert!((200_000..300_000).contains(&bytes), "{bytes}");
        for number in 0..10 * BYTES_MAX / bytes {
            let entry = Entry { identity: identity.clone(), generation: 0 };
            cache.insert(digest(number), entry);
        }
        assert!(cache.len() * bytes <= BYTES_MAX, "{}", cache.len());
    }
}
