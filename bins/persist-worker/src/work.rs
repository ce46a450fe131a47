//! What is done with the entries of a stream: the part that messages and plays do not share.

use mayfly_cold::{ColdError, DeadLetter, Tried};
use mayfly_hot::{Delivery, HotError, Stream};

/// The work on one stream. Every step may be done again.
pub trait Work {
    /// The stream.
    const STREAM: Stream;

    /// What goes into one transaction: entries of one epoch.
    type Batch<'a>;

    /// What a transaction came to.
    type Outcome;

    /// An empty batch of an epoch.
    fn begin(epoch: &str) -> Self::Batch<'_>;

    /// Adds an entry to a batch; gives how many items it brings, or why nobody can read it.
    fn add<'a>(batch: &mut Self::Batch<'a>, delivery: &'a Delivery) -> Result<u64, String>;

    /// How much an entry weighs in a batch, in bytes.
    fn weigh(delivery: &Delivery) -> usize;

    /// Commits a batch: all of it, or nothing.
    async fn store(&self, batch: &Self::Batch<'_>) -> Result<Self::Outcome, ColdError>;

    /// Commits what is tried alone; a refusal of this very entry is an answer.
    async fn try_store(&self, batch: &Self::Batch<'_>) -> Result<Tried<Self::Outcome>, ColdError>;

    /// After the commit: shows what it changed, then acknowledges.
    async fn acknowledge(
        &self,
        group: &Group<'_, Self::Batch<'_>>,
        outcome: &Self::Outcome,
    ) -> Result<(), HotError>;

    /// How many items of a group are new in Postgres.
    fn count_new(group: &Group<'_, Self::Batch<'_>>, outcome: &Self::Outcome) -> u64;

    /// Makes a dead letter of an entry.
    fn to_dead_letter(delivery: &Delivery, reason: String, attempts: u32) -> DeadLetter;

    /// After an entry is buried: acknowledges it. `is_expired` says whether what it brought had been
    /// taken or deleted.
    async fn acknowledge_dead(
        &self,
        delivery: &Delivery,
        letter: &DeadLetter,
        is_expired: bool,
    ) -> Result<(), HotError>;

    /// Acknowledges entries that are pending and no longer in the stream.
    async fn let_go(&self, entry_ids: &[&str]) -> Result<(), HotError>;
}

/// Entries that go into one transaction.
#[derive(Debug)]
pub struct Group<'a, B> {
    /// The entries, and how many items each brings.
    pub entries: Vec<(&'a Delivery, u64)>,
    /// What is stored of them.
    pub batch: B,
}

impl<'a, B> Group<'a, B> {
    /// The ids of the entries.
    pub fn entry_ids(&self) -> Vec<&'a str> {
        self.entries.iter().map(|(delivery, _)| delivery.entry_id.as_str()).collect()
    }

    /// How many items they bring.
    pub fn items(&self) -> u64 {
        self.entries.iter().map(|(_, items)| items).sum()
    }
}

/// An entry that cannot be stored, and why.
#[derive(Debug)]
pub struct Unreadable<'a> {
    /// What was delivered.
    pub delivery: &'a Delivery,
    /// Why nobody can read it.
    pub reason: String,
}

/// Sorts entries into groups that can be stored together, and what nobody can read. The order within
/// an epoch is kept.
pub fn sort<'a, W: Work>(
    deliveries: impl IntoIterator<Item = &'a Delivery>,
) -> (Vec<Group<'a, W::Batch<'a>>>, Vec<Unreadable<'a>>) {
    let mut groups: Vec<(&str, Group<'a, W::Batch<'a>>)> = Vec::new();
    let mut unreadable = Vec::new();
    for delivery in deliveries {
        let epoch = delivery.meta.epoch.as_str();
        let known = groups.iter().position(|(of, _)| *of == epoch);
        let place = known.unwrap_or_else(|| {
            groups.push((epoch, Group { entries: Vec::new(), batch: W::begin(epoch) }));
            groups.len() - 1
        });
        let group = &mut groups[place].1;
        match W::add(&mut group.batch, delivery) {
            Ok(items) => group.entries.push((delivery, items)),
            Err(reason) => unreadable.push(Unreadable { delivery, reason }),
        }
    }
    let groups = groups.into_iter().map(|(_, group)| group);
    (groups.filter(|group| !group.entries.is_empty()).collect(), unreadable)
}

/// The dead letter of an entry that brings nothing known.
pub fn dead_letter<W: Work>(
    delivery: &Delivery,
    body: Vec<u8>,
    reason: String,
    attempts: u32,
) -> DeadLetter {
    let meta = &delivery.meta;
    DeadLetter {
        stream: W::STREAM.name(),
        epoch: meta.epoch.clone(),
        entry_id: delivery.entry_id.clone(),
        kind: delivery.kind.clone(),
        message_id: None,
        plays_id: None,
        items: 0,
        body,
        meta: format!("{} {}", meta.request_id, meta.traceparent),
        reason,
        attempts,
    }
}
