//! What was found out a moment ago, kept for all who ask the same: however many ask at once, one
//! question is under way, and they share its answer, a failure too.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mayfly_cold::ColdError;
use mayfly_hot::HotError;
use mayfly_http::{Code, Problem};
use tokio::{sync::watch, time::Instant};

use crate::problems::{of_cold, of_hot};

/// Answers kept of one kind; when there are more, all are forgotten.
const ENTRIES_MAX: usize = 10_000;

/// Answers by what was asked, over all threads of the process.
pub struct Kept<K, V> {
    slots: Mutex<HashMap<K, Slot<V>>>,
}

/// An answer, or the place where it will be.
type Slot<V> = watch::Receiver<Option<Found<V>>>;

/// An answer, and how long it may be given again.
#[derive(Debug, Clone)]
pub struct Found<V> {
    value: Result<V, Failure>,
    /// None where nobody but those who wait is to have it.
    until: Option<Instant>,
    /// Whether nobody is to find out something newer while this is still given: somebody is at it, or
    /// it is no answer that would be worth it.
    is_renewed: bool,
}

/// Why nothing was found out.
#[derive(Debug, Clone)]
pub enum Failure {
    /// Redis gave no answer of use.
    Hot(Arc<HotError>),
    /// Postgres gave no answer of use.
    Cold(Arc<ColdError>),
    /// More is asked than can be asked.
    Overloaded,
    /// Who asked is gone: its thread leaves.
    Left,
}

impl<V> Found<V> {
    /// An answer that is good until then.
    pub fn until(value: V, until: Instant) -> Self {
        Self { value: Ok(value), until: Some(until), is_renewed: false }
    }

    /// An answer that is good until then and is not renewed before.
    pub fn once(value: V, until: Instant) -> Self {
        Self { value: Ok(value), until: Some(until), is_renewed: true }
    }

    /// A failure, which only those learn of who wait.
    pub fn failed(failure: impl Into<Failure>) -> Self {
        Self { value: Err(failure.into()), until: None, is_renewed: false }
    }

    fn is_good(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    /// Until when it is good, where that is soon and nobody is at something newer.
    fn ends_soon(&self, ahead: Duration) -> Option<Instant> {
        let until = self.until.filter(|_| !self.is_renewed)?;
        let left = until.checked_duration_since(Instant::now())?;
        (left < ahead).then_some(until)
    }
}

impl<K: Clone + Eq + Hash, V: Clone + Send + Sync + 'static> Kept<K, V> {
    /// Nothing is kept yet.
    pub fn new() -> Self {
        Self { slots: Mutex::default() }
    }

    /// Gives what is kept, or waits for who asks already, or asks.
    ///
    /// Who asks is a task of its own, and goes on when its caller hangs up: others may wait for it. It
    /// ends with the thread of its caller, which may leave before others do: these ask once more.
    pub async fn get<F>(&self, key: &K, ask: impl Fn() -> F) -> Result<V, Failure>
    where
        F: Future<Output = Found<V>> + Send + 'static,
    {
        match self.get_once(key, &ask).await {
            Err(Failure::Left) => self.get_once(key, &ask).await,
            answer => answer,
        }
    }

    /// Whether what is kept is good for less than `ahead` and something newer is to be found out and
    /// [put](Self::put) by who asks this: told once. Until then it is given for so much `longer`.
    pub fn take_renewal(&self, key: &K, ahead: Duration, longer: Duration) -> bool {
        let mut slots = self.lock();
        let renewed = slots.get(key).and_then(|slot| {
            let found = slot.borrow();
            let found = found.as_ref()?;
            let until = Some(found.ends_soon(ahead)? + longer);
            Some(Found { value: found.value.clone(), until, is_renewed: true })
        });
        let is_due = renewed.is_some();
        if is_due {
            slots.insert(key.clone(), watch::channel(renewed).1);
        }
        is_due
    }

    /// Keeps an answer that was found out meanwhile, unless others ask by now: they get their own.
    pub fn put(&self, key: K, found: Found<V>) {
        let mut slots = self.lock();
        if !matches!(look(slots.get(&key)), Err(Some(_))) {
            insert(&mut slots, key, watch::channel(Some(found)).1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Slot<V>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn get_once<F>(&self, key: &K, ask: &impl Fn() -> F) -> Result<V, Failure>
    where
        F: Future<Output = Found<V>> + Send + 'static,
    {
        let mut slot = match self.find(key) {
            Ok(value) => return value,
            Err(Some(slot)) => slot,
            Err(None) => self.begin(key, ask),
        };
        match slot.wait_for(Option::is_some).await {
            Ok(found) => found.as_ref().map_or(Err(Failure::Left), |found| found.value.clone()),
            Err(_) => Err(Failure::Left),
        }
    }

    /// What is kept, else the place where it will be, if somebody asks already.
    fn find(&self, key: &K) -> Result<Result<V, Failure>, Option<Slot<V>>> {
        look(self.lock().get(key))
    }

    /// Asks, unless somebody else began just now.
    fn begin<F>(&self, key: &K, ask: &impl Fn() -> F) -> Slot<V>
    where
        F: Future<Output = Found<V>> + Send + 'static,
    {
        let mut slots = self.lock();
        if let Some(slot) = slots.get(key)
            && !matches!(look(Some(slot)), Err(None))
        {
            return slot.clone();
        }
        let (answer, slot) = watch::channel(None);
        insert(&mut slots, key.clone(), slot.clone());
        let asking = ask();
        tokio::spawn(async move { answer.send_replace(Some(asking.await)) });
        slot
    }
}

fn insert<K: Eq + Hash, V>(slots: &mut HashMap<K, Slot<V>>, key: K, slot: Slot<V>) {
    if slots.len() >= ENTRIES_MAX && !slots.contains_key(&key) {
        slots.clear();
    }
    slots.insert(key, slot);
}

/// What stands in a slot: an answer that is good, a place to wait at, or nothing of use.
fn look<V: Clone>(slot: Option<&Slot<V>>) -> Result<Result<V, Failure>, Option<Slot<V>>> {
    let slot = slot.ok_or(None)?;
    // Looked at before the answer: who answers does so before it leaves.
    let has_left = slot.has_changed().is_err();
    match &*slot.borrow() {
        Some(found) if found.is_good() => Ok(found.value.clone()),
        None if !has_left => Err(Some(slot.clone())),
        _ => Err(None),
    }
}

impl From<HotError> for Failure {
    fn from(error: HotError) -> Self {
        Self::Hot(Arc::new(error))
    }
}

impl From<ColdError> for Failure {
    fn from(error: ColdError) -> Self {
        Self::Cold(Arc::new(error))
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Hot(error) => of_hot(&error),
            Failure::Cold(error) => of_cold(&error),
            Failure::Overloaded => Self::new(Code::Overloaded),
            Failure::Left => Self::new(Code::Unavailable).caused_by("who asked is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    /// Longer than a test takes, and how long an answer takes here.
    const LONG: Duration = Duration::from_secs(3_600);
    const A_WHILE: Duration = Duration::from_millis(200);

    /// Keeps how often it was asked, which is also its answer.
    #[derive(Clone, Default)]
    struct Source(Arc<AtomicUsize>);

    impl Source {
        async fn ask(self, good_for: Duration) -> Found<usize> {
            let began = Instant::now();
            tokio::time::sleep(A_WHILE).await;
            Found::until(self.0.fetch_add(1, Ordering::Relaxed) + 1, began + good_for)
        }

        async fn fail(self) -> Found<usize> {
            tokio::time::sleep(A_WHILE).await;
            self.0.fetch_add(1, Ordering::Relaxed);
            Found::failed(HotError::Timeout)
        }
    }

    async fn get(kept: &Kept<u8, usize>, key: u8, source: &Source) -> Option<usize> {
        kept.get(&key, || source.clone().ask(LONG)).await.ok()
    }

    #[tokio::test]
    async fn many_at_once_share_one_question_and_later_ones_its_answer() {
        let (kept, source) = (Kept::new(), Source::default());
        let ask = || get(&kept, 1, &source);
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!([a, b, c], [Some(1); 3]);
        assert_eq!(ask().await, Some(1));
        assert_eq!(get(&kept, 2, &source).await, Some(2));
    }

    #[tokio::test]
    async fn what_is_good_no_more_is_asked_again() {
        let (kept, source) = (Kept::new(), Source::default());
        for asked in 1..=2 {
            let answer = kept.get(&1, || source.clone().ask(A_WHILE)).await;
            assert_eq!(answer.ok(), Some(asked));
        }
    }

    #[tokio::test]
    async fn what_is_good_for_short_is_renewed_by_one_and_given_meanwhile() {
        let (kept, until) = (Kept::new(), Instant::now() + LONG);
        assert!(!kept.take_renewal(&1, LONG, LONG), "there is nothing yet");
        kept.put(1, Found::until(1, until));
        assert!(!kept.take_renewal(&1, A_WHILE, LONG), "it is good for long");
        assert!(kept.take_renewal(&1, LONG * 2, LONG));
        assert!(!kept.take_renewal(&1, LONG * 2, LONG), "one is at it");
        let ask = || async { Found::failed(HotError::Timeout) };
        assert_eq!(kept.get(&1, ask).await.ok(), Some(1));
        kept.put(1, Found::until(2, until));
        assert_eq!(kept.get(&1, ask).await.ok(), Some(2));
    }

    #[tokio::test]
    async fn a_failure_is_told_to_those_who_wait_and_not_kept() {
        let (kept, source) = (Kept::new(), Source::default());
        let fail = || kept.get(&1, || source.clone().fail());
        let (a, b) = tokio::join!(fail(), fail());
        assert!(a.is_err() && b.is_err());
        assert_eq!(get(&kept, 1, &source).await, Some(2));
    }

    #[tokio::test]
    async fn who_hangs_up_takes_the_answer_from_nobody() {
        let (kept, source) = (Kept::new(), Source::default());
        let first = tokio::time::timeout(A_WHILE / 20, get(&kept, 1, &source)).await;
        assert!(first.is_err());
        assert_eq!(get(&kept, 1, &source).await, Some(1));
    }

    #[tokio::test]
    async fn where_who_asked_is_gone_nobody_hangs_and_the_next_asks_anew() {
        let (kept, source) = (Kept::new(), Source::default());
        let tries = AtomicUsize::new(0);
        let gone = kept.get(&1, || {
            tries.fetch_add(1, Ordering::Relaxed);
            async { panic!("on purpose") }
        });
        assert!(matches!(gone.await, Err(Failure::Left)));
        assert_eq!(tries.into_inner(), 2);
        assert_eq!(get(&kept, 1, &source).await, Some(1));
    }

    #[tokio::test]
    async fn no_more_is_kept_than_may_be() {
        let kept = Kept::new();
        let until = Instant::now() + LONG;
        for key in 0..ENTRIES_MAX + 2 {
            let one = kept.get(&key, || async move { Found::until(key, until) }).await;
            assert_eq!(one.ok(), Some(key));
        }
        assert_eq!(kept.slots.lock().expect("nobody panicked").len(), 2);
        for key in 0..=ENTRIES_MAX {
            kept.put(key, Found::until(key, until));
        }
        assert!(kept.slots.lock().expect("nobody panicked").len() <= ENTRIES_MAX);
    }
}
