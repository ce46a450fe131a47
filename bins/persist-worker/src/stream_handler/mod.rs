//! The handling of stream entries, which differs between messages and plays.

pub mod messages;
pub mod plays;

use mayfly_cold::{ColdError, DeadLetter, EntryOutcome};
use mayfly_hot::{Delivery, HotError, Stream};

/// A handler for the entries of one stream. Its operations on Postgres and Redis are idempotent.
pub trait StreamHandler {
    /// The stream.
    const STREAM: Stream;

    /// The approximate maximum size of an entry in bytes.
    const ENTRY_BYTES_MAX: usize;

    /// The content of one transaction: entries of one epoch. A new epoch begins after Redis has
    /// lost data.
    type Batch<'a>;

    /// The result of a transaction.
    type Outcome;

    /// Creates an empty batch.
    fn new_batch(epoch: &str) -> Self::Batch<'_>;

    /// Adds an entry to a batch. Returns the number of items in the entry, or an error text if the
    /// entry is invalid.
    fn add<'a>(batch: &mut Self::Batch<'a>, delivery: &'a Delivery) -> Result<u64, String>;

    /// Returns the size of an entry in bytes.
    fn size(delivery: &Delivery) -> usize;

    /// Commits a batch atomically.
    async fn store(&self, batch: &Self::Batch<'_>) -> Result<Self::Outcome, ColdError>;

    /// Commits a batch that contains a single entry. A rejection by Postgres is an outcome, or an
    /// error if Postgres rejects a parameter.
    async fn try_store(
        &self,
        batch: &Self::Batch<'_>,
    ) -> Result<EntryOutcome<Self::Outcome>, ColdError>;

    /// Updates Redis after a batch has been committed, then acknowledges the entries of the batch.
    async fn acknowledge(
        &self,
        group: &EntryGroup<'_, Self::Batch<'_>>,
        outcome: &Self::Outcome,
    ) -> Result<(), HotError>;

    /// Returns the number of items in a committed batch that Postgres had not stored or counted
    /// before.
    fn count_new(group: &EntryGroup<'_, Self::Batch<'_>>, outcome: &Self::Outcome) -> u64;

    /// Creates a dead letter for an entry.
    fn to_dead_letter(delivery: &Delivery, reason: String, attempts: u32) -> DeadLetter;

    /// Acknowledges a dead-lettered entry. `is_expired` states whether Postgres has recorded a take
    /// or a deletion of the message in the entry.
    async fn acknowledge_dead_letter(
        &self,
        delivery: &Delivery,
        letter: &DeadLetter,
        is_expired: bool,
    ) -> Result<(), HotError>;

    /// Acknowledges pending entries that no longer exist in the stream.
    async fn ack_missing(&self, entry_ids: &[&str]) -> Result<(), HotError>;
}

/// The entries of one transaction.
#[derive(Debug)]
pub struct EntryGroup<'a, B> {
    /// The entries, each with the number of items in it.
    pub entries: Vec<(&'a Delivery, u64)>,
    /// The content of the transaction.
    pub batch: B,
}

impl<'a, B> EntryGroup<'a, B> {
    /// Returns the IDs of the entries.
    pub fn entry_ids(&self) -> Vec<&'a str> {
        self.entries.iter().map(|(delivery, _)| delivery.entry_id.as_str()).collect()
    }

    /// Returns the total number of items.
    pub fn item_count(&self) -> u64 {
        self.entries.iter().map(|(_, items)| items).sum()
    }
}

/// An entry with invalid content.
#[derive(Debug)]
pub struct InvalidEntry<'a> {
    /// The entry.
    pub delivery: &'a Delivery,
    /// The error text.
    pub reason: String,
}

/// Groups valid entries by epoch, because a transaction contains entries of only one epoch. Returns
/// invalid entries separately. Preserves the order within an epoch.
pub fn group_by_epoch<'a, H: StreamHandler>(
    deliveries: impl IntoIterator<Item = &'a Delivery>,
) -> (Vec<EntryGroup<'a, H::Batch<'a>>>, Vec<InvalidEntry<'a>>) {
    let mut groups: Vec<(&str, EntryGroup<'a, H::Batch<'a>>)> = Vec::new();
    let mut invalid = Vec::new();
    for delivery in deliveries {
        let epoch = delivery.meta.epoch.as_str();
        let index = groups.iter().position(|(other, _)| *other == epoch).unwrap_or_else(|| {
            groups.push((epoch, EntryGroup { entries: Vec::new(), batch: H::new_batch(epoch) }));
            groups.len() - 1
        });
        let group = &mut groups[index].1;
        match H::add(&mut group.batch, delivery) {
            Ok(items) => group.entries.push((delivery, items)),
            Err(reason) => invalid.push(InvalidEntry { delivery, reason }),
        }
    }
    let groups = groups.into_iter().map(|(_, group)| group);
    (groups.filter(|group| !group.entries.is_empty()).collect(), invalid)
}

/// Creates a dead letter for an entry without decoding its body.
fn undecoded_dead_letter<H: StreamHandler>(
    delivery: &Delivery,
    body: Vec<u8>,
    reason: String,
    attempts: u32,
) -> DeadLetter {
    let meta = &delivery.meta;
    DeadLetter {
        stream: H::STREAM.name(),
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
