//! Counts plays in Postgres, and mirrors the counts to Redis for readers and the publisher.

use std::time::Duration;

use mayfly_cold::{
    ColdError, ColdStore, CountedPlays, DeadLetter, EntryOutcome, NewPlays, PlaysBatch,
};
use mayfly_core::{plays::PlaysView, stream::Entry};
use mayfly_hot::{Delivery, HotError, HotStore, Stream};

use super::{EntryGroup, StreamHandler, undecoded_dead_letter};

/// The handler for the stream of plays.
pub struct PlayHandler {
    hot: HotStore,
    cold: ColdStore,
    timeout: Duration,
}

impl PlayHandler {
    /// Creates a handler. `timeout` applies to each statement.
    pub fn new(hot: HotStore, cold: ColdStore, timeout: Duration) -> Self {
        Self { hot, cold, timeout }
    }
}

impl StreamHandler for PlayHandler {
    const STREAM: Stream = Stream::Plays;
    /// The approximate size of 1,000 plays with long IDs in multibyte characters.
    const ENTRY_BYTES_MAX: usize = 1024 * 1024;
    type Batch<'a> = PlaysBatch<'a>;
    type Outcome = CountedPlays;

    fn new_batch(epoch: &str) -> PlaysBatch<'_> {
        PlaysBatch { epoch, entries: Vec::new() }
    }

    fn add<'a>(batch: &mut PlaysBatch<'a>, delivery: &'a Delivery) -> Result<u64, String> {
        let json = match &delivery.entry {
            Ok(Entry::Plays(json)) => json,
            Ok(_) => return Err("the entry contains no plays: it belongs to another stream".into()),
            Err((error, _)) => return Err(error.to_string()),
        };
        let plays = PlaysView::from_json(json).map_err(|error| error.to_string())?;
        // The services reject U+0000, but another program may have written it. Postgres would then
        // reject the whole batch.
        if plays.plays.iter().any(|play| play.video_id.contains('\0')) {
            return Err("a video ID contains U+0000".into());
        }
        let entry_id = delivery.entry_id.parse().map_err(|_| "the stream entry ID is malformed")?;
        let count = plays.plays.len() as u64;
        batch.entries.push(NewPlays { entry_id, plays });
        Ok(count)
    }

    fn size(delivery: &Delivery) -> usize {
        match &delivery.entry {
            Ok(Entry::Plays(body)) | Err((_, body)) => body.len(),
            Ok(_) => 0,
        }
    }

    async fn store(&self, batch: &Self::Batch<'_>) -> Result<CountedPlays, ColdError> {
        self.cold.plays().count_batch(batch, self.timeout).await
    }

    async fn try_store(
        &self,
        batch: &Self::Batch<'_>,
    ) -> Result<EntryOutcome<CountedPlays>, ColdError> {
        self.cold.plays().try_count_batch(batch, self.timeout).await
    }

    /// Mirrors the counts, then acknowledges the entries. If the worker is killed between the two
    /// calls, the entries are redelivered. The plays are not counted again, but the current counts
    /// of their videos are mirrored again.
    async fn acknowledge(
        &self,
        group: &EntryGroup<'_, Self::Batch<'_>>,
        counted: &CountedPlays,
    ) -> Result<(), HotError> {
        self.hot.plays().mirror_counts(&counted.counts).await?;
        let entries: Vec<_> = group
            .entries
            .iter()
            .map(|(delivery, plays)| (delivery.entry_id.as_str(), *plays))
            .collect();
        self.hot.queue().ack_plays(&entries).await
    }

    fn count_new(group: &EntryGroup<'_, Self::Batch<'_>>, counted: &CountedPlays) -> u64 {
        group.item_count().saturating_sub(counted.duplicates)
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
            ..undecoded_dead_letter::<Self>(delivery, body, reason, attempts)
        }
    }

    async fn acknowledge_dead_letter(
        &self,
        delivery: &Delivery,
        letter: &DeadLetter,
        _: bool,
    ) -> Result<(), HotError> {
        self.hot.queue().ack_plays(&[(&delivery.entry_id, u64::from(letter.items))]).await
    }

    async fn ack_missing(&self, entry_ids: &[&str]) -> Result<(), HotError> {
        let entries: Vec<_> = entry_ids.iter().map(|entry_id| (*entry_id, 0)).collect();
        self.hot.queue().ack_plays(&entries).await
    }
}

#[cfg(test)]
mod tests {
    use mayfly_core::stream::{Meta, PLAYS_V1};

    use super::*;
    use crate::stream_handler::group_by_epoch;

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
    fn each_play_of_an_entry_is_an_item() {
        let all = [delivery("1-0", &plays(3)), delivery("1-1", &plays(1)), delivery("1-2", "{}")];
        let (groups, invalid) = group_by_epoch::<PlayHandler>(&all);
        assert_eq!((groups.len(), groups[0].item_count(), invalid.len()), (1, 4, 1));
        let counted = CountedPlays { duplicates: 3, ..CountedPlays::default() };
        assert_eq!(PlayHandler::count_new(&groups[0], &counted), 1);
        let letter = PlayHandler::to_dead_letter(&all[0], "no".into(), 5);
        assert_eq!((letter.items, letter.body), (3, plays(3).into_bytes()));
    }
}
