//! A single-flight cache: concurrent requests for the same key share one fetch and its result.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use mayfly_core::StoreError;
use mayfly_http::{Code, Problem};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

/// The maximum number of entries in a cache. When an entry is inserted into a full cache, the cache
/// first removes its expired entries. If the cache is then still more than half full, it removes
/// all entries.
const ENTRIES_MAX: usize = 10_000;
/// A cache is also full when the total size of its values reaches this number of bytes.
const VALUES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A cache that is shared by all threads of the process.
pub struct SingleFlightCache<K, V> {
    slots: Mutex<HashMap<K, Slot<V>>>,
    /// The total size of the cached values, in bytes.
    bytes: Arc<AtomicUsize>,
}

/// A value that a cache can hold.
pub trait CacheValue: Clone + Send + Sync + 'static {
    /// Returns the size of the value on the heap, in bytes.
    fn heap_bytes(&self) -> usize;
}

/// The size of a cached value. It counts toward the total size of the cache until this struct is
/// dropped.
#[derive(Debug)]
struct CachedBytes {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

/// An entry, or `None` until its fetch completes.
type Slot<V> = watch::Receiver<Option<CachedEntry<V>>>;

/// A cached entry with its size.
type CachedEntry<V> = (CacheEntry<V>, CachedBytes);

/// The result of a fetch, and the time until which it can be reused.
#[derive(Debug, Clone)]
pub struct CacheEntry<V> {
    value: Result<V, FetchError>,
    /// The expiry time. `None` if the entry is not cached: only the requests that are already
    /// waiting receive it.
    expires_at: Option<Instant>,
    /// Whether the entry can be refreshed before it expires.
    refresh: Refresh,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refresh {
    Allowed,
    InProgress,
    Disabled,
}

/// The error of a fetch that returned no value.
#[derive(Debug, Clone)]
pub enum FetchError {
    /// A store failed.
    Store(Arc<dyn StoreError>),
    /// Too many fetches are in progress.
    Overloaded,
    /// The fetch ended without a result, because its task panicked or its thread exited.
    Cancelled,
}

/// The state of a key in the cache.
enum Lookup<V> {
    Fresh(Result<V, FetchError>),
    Fetching(Slot<V>),
    Missing,
}

impl<V> CacheEntry<V> {
    /// Creates an entry that expires at `expires_at`.
    pub fn new(value: V, expires_at: Instant) -> Self {
        Self { value: Ok(value), expires_at: Some(expires_at), refresh: Refresh::Allowed }
    }

    /// Creates an entry that is not refreshed before it expires.
    pub fn without_refresh(value: V, expires_at: Instant) -> Self {
        Self { refresh: Refresh::Disabled, ..Self::new(value, expires_at) }
    }

    /// Creates the entry for a failed fetch. Only the requests that are already waiting receive it.
    pub fn failed(error: impl Into<FetchError>) -> Self {
        Self { value: Err(error.into()), expires_at: None, refresh: Refresh::Disabled }
    }

    fn is_fresh(&self) -> bool {
        self.expires_at.is_some_and(|expires_at| Instant::now() < expires_at)
    }

    /// Returns the expiry time if it is less than `ahead` away and a refresh can begin.
    fn due_expiry(&self, ahead: Duration) -> Option<Instant> {
        let expires_at = self.expires_at.filter(|_| self.refresh == Refresh::Allowed)?;
        let left = expires_at.checked_duration_since(Instant::now())?;
        (left < ahead).then_some(expires_at)
    }
}

impl CachedBytes {
    /// Adds the size of an entry to the total size of the cache.
    fn add<V: CacheValue>(entry: &CacheEntry<V>, total: &Arc<AtomicUsize>) -> Self {
        let bytes = entry.value.as_ref().map_or(0, V::heap_bytes);
        total.fetch_add(bytes, Ordering::Relaxed);
        Self { total: Arc::clone(total), bytes }
    }
}

impl Drop for CachedBytes {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl<K: Clone + Eq + Hash, V: CacheValue> SingleFlightCache<K, V> {
    /// Creates an empty cache.
    pub fn new() -> Self {
        Self { slots: Mutex::default(), bytes: Arc::default() }
    }

    /// Returns the cached value. If there is none, waits for the fetch in progress, or starts a
    /// fetch and waits for it.
    ///
    /// The fetch is a separate task. It continues if the caller that started it disconnects,
    /// because other callers may be waiting. If the fetch ends without a result, because its task
    /// panics or its thread exits, each waiting caller retries once.
    pub async fn get<F>(&self, key: &K, fetch: impl Fn() -> F) -> Result<V, FetchError>
    where
        F: Future<Output = CacheEntry<V>> + Send + 'static,
    {
        match self.get_or_fetch(key, &fetch).await {
            Err(FetchError::Cancelled) => self.get_or_fetch(key, &fetch).await,
            result => result,
        }
    }

    /// If the entry expires in less than `ahead`, can be refreshed and is not being refreshed,
    /// postpones its expiry by `extension` and returns `true`. The caller must then refresh the
    /// entry and [`insert`](Self::insert) the result. In the meantime, readers receive the old
    /// value.
    ///
    /// Otherwise, returns `false`.
    pub fn begin_refresh(&self, key: &K, ahead: Duration, extension: Duration) -> bool {
        let mut slots = self.slots.lock();
        let extended = slots.get(key).and_then(|slot| {
            let entry = slot.borrow();
            let (entry, _) = entry.as_ref()?;
            let expires_at = Some(entry.due_expiry(ahead)? + extension);
            let value = entry.value.clone();
            Some(CacheEntry { value, expires_at, refresh: Refresh::InProgress })
        });
        let Some(extended) = extended else { return false };
        slots.insert(key.clone(), self.create_slot(extended));
        true
    }

    /// Inserts an entry. Does nothing if a fetch is in progress, because the result of the fetch
    /// takes precedence.
    pub fn insert(&self, key: K, entry: CacheEntry<V>) {
        let mut slots = self.slots.lock();
        if !matches!(inspect(slots.get(&key)), Lookup::Fetching(_)) {
            let slot = self.create_slot(entry);
            self.insert_bounded(&mut slots, key, slot);
        }
    }

    fn create_slot(&self, entry: CacheEntry<V>) -> Slot<V> {
        let bytes = CachedBytes::add(&entry, &self.bytes);
        watch::channel(Some((entry, bytes))).1
    }

    fn insert_bounded(&self, slots: &mut HashMap<K, Slot<V>>, key: K, slot: Slot<V>) {
        let size = |slots: &HashMap<K, Slot<V>>| (slots.len(), self.bytes.load(Ordering::Relaxed));
        let (entries, bytes) = size(slots);
        if (entries >= ENTRIES_MAX && !slots.contains_key(&key)) || bytes >= VALUES_BYTES_MAX {
            slots.retain(|_, slot| !matches!(inspect(Some(slot)), Lookup::Missing));
            // The scan is slow, so it must make room for many insertions.
            let (entries, bytes) = size(slots);
            if entries > ENTRIES_MAX / 2 || bytes > VALUES_BYTES_MAX / 2 {
                slots.clear();
            }
        }
        slots.insert(key, slot);
    }

    async fn get_or_fetch<F>(&self, key: &K, fetch: &impl Fn() -> F) -> Result<V, FetchError>
    where
        F: Future<Output = CacheEntry<V>> + Send + 'static,
    {
        let mut slot = match self.find_or_spawn(key, fetch) {
            Ok(value) => return value,
            Err(slot) => slot,
        };
        match slot.wait_for(Option::is_some).await {
            Ok(entry) => {
                entry.as_ref().map_or(Err(FetchError::Cancelled), |(entry, _)| entry.value.clone())
            }
            Err(_) => Err(FetchError::Cancelled),
        }
    }

    /// Returns the cached value. If there is none, spawns a fetch unless one is in progress, and
    /// returns the slot of the fetch.
    fn find_or_spawn<F>(
        &self,
        key: &K,
        fetch: &impl Fn() -> F,
    ) -> Result<Result<V, FetchError>, Slot<V>>
    where
        F: Future<Output = CacheEntry<V>> + Send + 'static,
    {
        let mut slots = self.slots.lock();
        match inspect(slots.get(key)) {
            Lookup::Fresh(value) => Ok(value),
            Lookup::Fetching(slot) => Err(slot),
            Lookup::Missing => {
                let (sender, slot) = watch::channel(None);
                self.insert_bounded(&mut slots, key.clone(), slot.clone());
                let (fetch, total) = (fetch(), Arc::clone(&self.bytes));
                tokio::spawn(async move {
                    let entry = fetch.await;
                    let bytes = CachedBytes::add(&entry, &total);
                    sender.send_replace(Some((entry, bytes)));
                });
                Err(slot)
            }
        }
    }
}

fn inspect<V: Clone>(slot: Option<&Slot<V>>) -> Lookup<V> {
    let Some(slot) = slot else { return Lookup::Missing };
    // The sender must be checked before the entry. A fetch stores its entry before it drops the
    // sender, so a closed slot without an entry never receives one.
    let is_closed = slot.has_changed().is_err();
    match &*slot.borrow() {
        Some((entry, _)) if entry.is_fresh() => Lookup::Fresh(entry.value.clone()),
        None if !is_closed => Lookup::Fetching(slot.clone()),
        _ => Lookup::Missing,
    }
}

/// A JSON response; `None` for an unknown host.
impl CacheValue for Option<Bytes> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, Bytes::len)
    }
}

impl<E: StoreError> From<E> for FetchError {
    fn from(error: E) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<FetchError> for Problem {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Store(error) => Self::from_store_error(&*error),
            FetchError::Overloaded => Self::new(Code::Overloaded),
            FetchError::Cancelled => {
                Self::new(Code::Unavailable).caused_by("the fetch ended without a result")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use mayfly_hot::HotError;

    use super::*;

    /// A duration longer than any test runs.
    const LONG: Duration = Duration::from_secs(3_600);
    /// The duration of a fetch.
    const FETCH_DURATION: Duration = Duration::from_millis(200);

    /// The size that each test value reports.
    const VALUE_BYTES: usize = 100;

    impl CacheValue for usize {
        fn heap_bytes(&self) -> usize {
            VALUE_BYTES
        }
    }

    /// A source that counts its fetches and returns the count as the value.
    #[derive(Clone, Default)]
    struct Source(Arc<AtomicUsize>);

    impl Source {
        async fn fetch(self, ttl: Duration) -> CacheEntry<usize> {
            let started = Instant::now();
            tokio::time::sleep(FETCH_DURATION).await;
            CacheEntry::new(self.0.fetch_add(1, Ordering::Relaxed) + 1, started + ttl)
        }

        async fn fail(self) -> CacheEntry<usize> {
            tokio::time::sleep(FETCH_DURATION).await;
            self.0.fetch_add(1, Ordering::Relaxed);
            CacheEntry::failed(HotError::Timeout)
        }
    }

    async fn get(cache: &SingleFlightCache<u8, usize>, key: u8, source: &Source) -> Option<usize> {
        cache.get(&key, || source.clone().fetch(LONG)).await.ok()
    }

    #[tokio::test]
    async fn concurrent_and_later_gets_share_one_fetch() {
        let (cache, source) = (SingleFlightCache::new(), Source::default());
        let get_first = || get(&cache, 1, &source);
        let (a, b, c) = tokio::join!(get_first(), get_first(), get_first());
        assert_eq!([a, b, c], [Some(1); 3]);
        assert_eq!(get_first().await, Some(1));
        assert_eq!(get(&cache, 2, &source).await, Some(2));
    }

    #[tokio::test]
    async fn expired_entry_is_fetched_again() {
        let (cache, source) = (SingleFlightCache::new(), Source::default());
        for fetches in 1..=2 {
            let value = cache.get(&1, || source.clone().fetch(FETCH_DURATION)).await;
            assert_eq!(value.ok(), Some(fetches));
        }
    }

    #[tokio::test]
    async fn entry_near_expiry_is_refreshed_once_and_served_in_the_meantime() {
        let (cache, expires_at) = (SingleFlightCache::new(), Instant::now() + LONG);
        assert!(!cache.begin_refresh(&1, LONG, LONG), "there is no entry yet");
        cache.insert(1, CacheEntry::new(1, expires_at));
        assert!(!cache.begin_refresh(&1, FETCH_DURATION, LONG), "the entry does not expire soon");
        assert!(cache.begin_refresh(&1, LONG * 2, LONG));
        assert!(!cache.begin_refresh(&1, LONG * 2, LONG), "a refresh is in progress");
        let fetch = || async { CacheEntry::failed(HotError::Timeout) };
        assert_eq!(cache.get(&1, fetch).await.ok(), Some(1));
        cache.insert(1, CacheEntry::new(2, expires_at));
        assert_eq!(cache.get(&1, fetch).await.ok(), Some(2));
    }

    #[tokio::test]
    async fn failure_is_shared_with_waiters_and_not_cached() {
        let (cache, source) = (SingleFlightCache::new(), Source::default());
        let fail = || cache.get(&1, || source.clone().fail());
        let (a, b) = tokio::join!(fail(), fail());
        assert!(a.is_err() && b.is_err());
        assert_eq!(get(&cache, 1, &source).await, Some(2));
    }

    #[tokio::test]
    async fn fetch_continues_after_its_caller_disconnects() {
        let (cache, source) = (SingleFlightCache::new(), Source::default());
        let first = tokio::time::timeout(FETCH_DURATION / 20, get(&cache, 1, &source)).await;
        assert!(first.is_err());
        assert_eq!(get(&cache, 1, &source).await, Some(1));
    }

    #[tokio::test]
    async fn canceled_fetch_is_retried_and_does_not_block_later_gets() {
        let (cache, source) = (SingleFlightCache::new(), Source::default());
        let attempts = AtomicUsize::new(0);
        let canceled = cache.get(&1, || {
            attempts.fetch_add(1, Ordering::Relaxed);
            async { panic!("on purpose") }
        });
        assert!(matches!(canceled.await, Err(FetchError::Cancelled)));
        assert_eq!(attempts.into_inner(), 2);
        assert_eq!(get(&cache, 1, &source).await, Some(1));
    }

    #[tokio::test]
    async fn number_of_entries_is_bounded() {
        let cache = SingleFlightCache::new();
        let expires_at = Instant::now() + LONG;
        for key in 0..ENTRIES_MAX + 2 {
            let value = cache.get(&key, || async move { CacheEntry::new(key, expires_at) }).await;
            assert_eq!(value.ok(), Some(key));
        }
        assert_eq!(cache.slots.lock().len(), 2);
        assert_eq!(cache.bytes.load(Ordering::Relaxed), 2 * VALUE_BYTES);
        for key in 0..=ENTRIES_MAX {
            cache.insert(key, CacheEntry::new(key, expires_at));
        }
        assert!(cache.slots.lock().len() <= ENTRIES_MAX);
    }

    #[tokio::test]
    async fn size_of_the_values_is_bounded() {
        const VALUE: usize = VALUES_BYTES_MAX / 100;
        let cache = SingleFlightCache::new();
        let value = Some(Bytes::from(vec![0; VALUE]));
        let get = async |key: usize, ttl: Duration| {
            let entry = CacheEntry::new(value.clone(), Instant::now() + ttl);
            let fetch = || std::future::ready(entry.clone());
            assert!(cache.get(&key, fetch).await.is_ok());
            let bytes = cache.bytes.load(Ordering::Relaxed);
            assert_eq!(bytes, cache.slots.lock().len() * VALUE);
            bytes
        };
        for key in 0..250 {
            assert!(get(key, LONG).await <= VALUES_BYTES_MAX + VALUE);
        }
        // A full cache keeps its unexpired entries if it has enough room without the expired ones.
        cache.slots.lock().clear();
        get(0, LONG).await;
        for key in 1..=100 {
            get(key, Duration::ZERO).await;
        }
        assert_eq!(get(101, LONG).await, 2 * VALUE);
        assert!(cache.slots.lock().contains_key(&0));
    }
}
