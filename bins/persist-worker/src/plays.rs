//! Plays: counts in Postgres, shown in Redis for readers and the publisher.

use std::time::Duration;

use mayfly_cold::{Cold, ColdError, CountedPlays, DeadLetter, NewPlays, PlaysBatch, Tried};
use mayfly_core::{entry::Entry, play::PlaysView};
use mayfly_hot::{Delivery, Hot, HotError, Stream};

use crate::work::{Group, Work, dead_letter};

/// Counts plays.
pub struct Plays {
    hot: Hot,
    cold: Cold,
    timeout: Duration,
}

impl Plays {
    /// Between the two stores; `timeout` is for a statement.
    pub fn new(hot: Hot, cold: Cold, timeout: Duration) -> Self {
        Self { hot, cold, timeout }
    }
}

impl Work for Plays {
    const STREAM: Stream = Stream::Plays;
    type Batch<'a> = PlaysBatch<'a>;
    type Outcome = CountedPlays;

    fn begin(epoch: &str) -> PlaysBatch<'_> {
        PlaysBatch { epoch, entries: Vec::new() }
    }

    fn add<'a>(batch: &mut PlaysBatch<'a>, delivery: &'a Delivery) -> Result<u64, String> {
        let json = match &delivery.entry {
            Ok(Entry::Plays(json)) => json,
            Ok(_) => return Err("it does not belong into this stream".into()),
            Err((error, _)) => return Err(error.to_string()),
        };
        let plays = PlaysView::from_json(json).map_err(|error| error.to_string())?;
        // No service of ours accepts U+0000; Postgres would refuse the whole batch for it.
        if plays.plays.iter().any(|play| play.video_id.contains('\0')) {
            return Err("the id of a video holds U+0000".into());
        }
        let place = delivery.entry_id.parse().map_err(|_| "its place is no place of a stream")?;
        let count = plays.plays.len() as u64;
        batch.entries.push(NewPlays { place, plays });
        Ok(count)
    }

    fn weigh(delivery: &Delivery) -> usize {
        match &delivery.entry {
            Ok(Entry::Plays(body)) | Err((_, body)) => body.len(),
            Ok(_) => 0,
        }
    }

    async fn store(&self, batch: &Self::Batch<'_>) -> Result<CountedPlays, ColdError> {
        self.cold.count_plays(batch, self.timeout).await
    }

    async fn try_store(&self, batch: &Self::Batch<'_>) -> Result<Tried<CountedPlays>, ColdError> {
        self.cold.try_count_plays(batch, self.timeout).await
    }

    /// Killed between the two, the entries are delivered again: they do not count again, and their
    /// videos are shown.
    async fn acknowledge(
        &self,
        group: &Group<'_, Self::Batch<'_>>,
        counted: &CountedPlays,
    ) -> Result<(), HotError> {
        self.hot.mirror_counts(&counted.counts).await?;
        let entries: Vec<_> = group
            .entries
            .iter()
            .map(|(delivery, plays)| (delivery.entry_id.as_str(), *plays))
            .collect();
        self.hot.ack_plays(&entries).await
    }

    fn count_new(group: &Group<'_, Self::Batch<'_>>, counted: &CountedPlays) -> u64 {
        group.items().saturating_sub(counted.repeated)
    }

    fn to_dead_letter(delivery: &Delivery, reason: String, attempts: u32) -> DeadLetter {
        let body = match &delivery.entry {
            Ok(Entry::Plays(body)) | Err((_, body)) => body.clone(),
            Ok(_) => Vec::new(),
        };
        let plays = PlaysView::from_json(&body).ok();
        let items = plays.as_ref().map_or(0, |plays| plays.plays.len());
        DeadLetter {
            plays_id: plays.map(|plays| plays.id),
            items: u32::try_from(items).unwrap_or(u32::MAX),
            ..dead_letter::<Self>(delivery, body, reason, attempts)
        }
    }

    async fn acknowledge_dead(
        &self,
        delivery: &Delivery,
        letter: &DeadLetter,
        _: bool,
    ) -> Result<(), HotError> {
        self.hot.ack_plays(&[(&delivery.entry_id, u64::from(letter.items))]).await
    }

    async fn let_go(&self, entry_ids: &[&str]) -> Result<(), HotError> {
        let entries: Vec<_> = entry_ids.iter().map(|entry_id| (*entry_id, 0)).collect();
        self.hot.ack_plays(&entries).await
    }
}

#[cfg(test)]
mod tests {
    use mayfly_core::entry::{Meta, PLAYS_V1};

    use super::*;
    use crate::work::sort;

    fn delivery(entry_id: &str, body: &str) -> Delivery {
        Delivery {
            entry_id: entry_id.into(),
            kind: PLAYS_V1.into(),
            entry: Entry::decode(PLAYS_V1, body.as_bytes().to_vec()),
            meta: Meta { epoch: "e".into(), ..Meta::default() },
            channels: String::new(),
        }
    }

    fn plays(count: usize) -> String {
        let plays = vec![r#"{"video_id":"v"}"#; count].join(",");
        format!(
            r#"{{"id":"019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47","enqueued_at":"2026-11-20T19:07:00.123Z","plays":[{plays}]}}"#
        )
    }

    #[test]
    fn an_entry_brings_as_many_items_as_it_has_plays() {
        let all = [delivery("1-0", &plays(3)), delivery("1-1", &plays(1)), delivery("1-2", "{}")];
        let (groups, unreadable) = sort::<Plays>(&all);
        assert_eq!((groups.len(), groups[0].items(), unreadable.len()), (1, 4, 1));
        let counted = CountedPlays { repeated: 3, ..CountedPlays::default() };
        assert_eq!(Plays::count_new(&groups[0], &counted), 1);
        let letter = Plays::to_dead_letter(&all[0], "no".into(), 5);
        assert_eq!((letter.items, letter.body), (3, plays(3).into_bytes()));
    }
}
