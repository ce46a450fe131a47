//! Stores messages, takes and deletions in Postgres.

use std::time::Duration;

use mayfly_cold::{
    ColdError, ColdStore, DeadLetter, EntryOutcome, Expiry, MessageBatch, NewMessageRow,
    StoreOutcome,
};
use mayfly_core::{MessageId, limits::MESSAGE_BYTES_MAX, message::MessageView, stream::Entry};
use mayfly_hot::{Delivery, HotError, HotStore, Stream};

use super::{EntryGroup, StreamHandler, undecoded_dead_letter};

/// The handler for the stream of messages.
pub struct MessageHandler {
    hot: HotStore,
    cold: ColdStore,
    timeout: Duration,
}

impl MessageHandler {
    /// Creates a handler. `timeout` applies to each statement.
    pub fn new(hot: HotStore, cold: ColdStore, timeout: Duration) -> Self {
        Self { hot, cold, timeout }
    }
}

impl StreamHandler for MessageHandler {
    const STREAM: Stream = Stream::Messages;
    const ENTRY_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
    type Batch<'a> = MessageBatch<'a>;
    type Outcome = StoreOutcome;

    fn new_batch(epoch: &str) -> MessageBatch<'_> {
        MessageBatch { epoch, ..MessageBatch::default() }
    }

    fn add<'a>(batch: &mut MessageBatch<'a>, delivery: &'a Delivery) -> Result<u64, String> {
        match &delivery.entry {
            Ok(Entry::Message(json)) => {
                let message = MessageView::from_json(json).map_err(|error| error.to_string())?;
                if contains_nul(&message) {
                    return Err("a field contains U+0000".into());
                }
                batch.messages.push(NewMessageRow { message, body_bytes: json.len() });
                Ok(1)
            }
            Ok(Entry::Expire { at, ids }) => {
                let at = *at;
                batch.expiries.extend(ids.iter().map(|id| Expiry { id: *id, at }));
                Ok(0)
            }
            Ok(Entry::Plays(_)) => {
                Err("the entry contains plays, which belong to another stream".into())
            }
            Err((error, _)) => Err(error.to_string()),
        }
    }

    fn size(delivery: &Delivery) -> usize {
        match &delivery.entry {
            Ok(Entry::Message(body) | Entry::Plays(body)) | Err((_, body)) => body.len(),
            Ok(Entry::Expire { ids, .. }) => ids.len() * MessageId::TEXT_BYTES,
        }
    }

    async fn store(&self, batch: &Self::Batch<'_>) -> Result<StoreOutcome, ColdError> {
        self.cold.messages().store_batch(batch, self.timeout).await
    }

    async fn try_store(
        &self,
        batch: &Self::Batch<'_>,
    ) -> Result<EntryOutcome<StoreOutcome>, ColdError> {
        self.cold.messages().try_store_batch(batch, self.timeout).await
    }

    async fn acknowledge(
        &self,
        group: &EntryGroup<'_, Self::Batch<'_>>,
        stored: &StoreOutcome,
    ) -> Result<(), HotError> {
        // `stored_ids` includes the expired messages, because another worker may have stored these
        // messages but not yet acknowledged their entries. If only the record of a take were
        // removed, a reader would find the stream entry, which shows the message as it was before
        // the take.
        let inserted = group.batch.messages.iter().map(|row| row.message.id);
        let stored_ids: Vec<_> = inserted.chain(stored.expired.iter().copied()).collect();
        self.hot.queue().ack_messages(&group.entry_ids(), &stored_ids, &stored.expired).await
    }

    fn count_new(_: &EntryGroup<'_, MessageBatch<'_>>, stored: &StoreOutcome) -> u64 {
        stored.inserted
    }

    fn to_dead_letter(delivery: &Delivery, reason: String, attempts: u32) -> DeadLetter {
        let (body, message_id) = match &delivery.entry {
            Ok(Entry::Message(json)) => {
                (json.clone(), MessageView::from_json(json).ok().map(|message| message.id))
            }
            Ok(Entry::Expire { at, ids }) => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                (format!("{} {}", at.as_millis(), ids.join(" ")).into_bytes(), None)
            }
            Ok(Entry::Plays(body)) | Err((_, body)) => (body.clone(), None),
        };
        DeadLetter {
            message_id,
            items: u32::from(message_id.is_some()),
            ..undecoded_dead_letter::<Self>(delivery, body, reason, attempts)
        }
    }

    async fn acknowledge_dead_letter(
        &self,
        delivery: &Delivery,
        letter: &DeadLetter,
        is_expired: bool,
    ) -> Result<(), HotError> {
        let message: Vec<_> = letter.message_id.into_iter().collect();
        let expired = match &delivery.entry {
            // A dead-lettered expiry is not applied. Its records are removed from Redis, where they
            // would otherwise remain forever.
            Ok(Entry::Expire { ids, .. }) => ids.as_slice(),
            _ if is_expired => message.as_slice(),
            _ => &[],
        };
        self.hot.queue().ack_messages(&[&delivery.entry_id], &message, expired).await
    }

    async fn ack_missing(&self, entry_ids: &[&str]) -> Result<(), HotError> {
        self.hot.queue().ack_messages(entry_ids, &[], &[]).await
    }
}

/// Returns whether a message contains U+0000. The services reject this character, but another
/// program may have written it. Postgres would then reject the whole batch.
fn contains_nul(message: &MessageView<'_>) -> bool {
    message.channel.contains('\0') || message.texts().any(|text| text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use mayfly_core::stream::{EXPIRE_V1, MESSAGE_V1, Meta, UnreadableEntry};

    use super::*;
    use crate::stream_handler::group_by_epoch;

    fn delivery(
        epoch: &str,
        kind: &str,
        entry: Result<Entry, (UnreadableEntry, Vec<u8>)>,
    ) -> Delivery {
        Delivery {
            entry_id: "1-1".into(),
            kind: kind.into(),
            entry,
            meta: Meta { epoch: epoch.into(), ..Meta::default() },
            channels: String::new(),
        }
    }

    fn message(epoch: &str, text: &str) -> Delivery {
        let json = format!(
            r#"{{"id":"019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47","channel":"lobby","text":"{text}","created_at":"2026-11-20T19:07:00.123Z","expires_at":"2026-11-20T19:08:00.123Z"}}"#
        );
        delivery(epoch, MESSAGE_V1, Ok(Entry::Message(json.into_bytes())))
    }

    #[test]
    fn group_contains_one_epoch_in_order() {
        let all = [message("e1", "a"), message("e2", "b"), message("e1", "c")];
        let (groups, invalid) = group_by_epoch::<MessageHandler>(&all);
        assert!(invalid.is_empty());
        assert_eq!(groups.iter().map(|group| group.batch.epoch).collect::<Vec<_>>(), ["e1", "e2"]);
        let texts: Vec<_> =
            groups[0].batch.messages.iter().map(|row| row.message.text.clone()).collect();
        assert_eq!(texts, [Some("a".to_owned()), Some("c".to_owned())]);
    }

    #[test]
    fn invalid_entries_are_separated_with_a_reason() {
        let all = [
            delivery(
                "e",
                "message.v9",
                Err((UnreadableEntry::UnknownKind("message.v9".into()), b"x".to_vec())),
            ),
            delivery("e", MESSAGE_V1, Ok(Entry::Message(b"{}".to_vec()))),
            message("e", "\\u0000"),
        ];
        let (groups, invalid) = group_by_epoch::<MessageHandler>(&all);
        assert!(groups.is_empty());
        assert_eq!(invalid.len(), 3);
        let letter = MessageHandler::to_dead_letter(&all[0], "unknown".into(), 0);
        assert_eq!((letter.body.as_slice(), letter.message_id), (b"x".as_slice(), None));
    }

    #[test]
    fn dead_letter_of_an_expiry_preserves_its_body() {
        let id: MessageId = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("a valid id");
        let body = format!("1795201620123 {id}").into_bytes();
        let entry = Entry::decode(EXPIRE_V1, body.clone());
        let letter =
            MessageHandler::to_dead_letter(&delivery("e", EXPIRE_V1, entry), "no".into(), 5);
        assert_eq!(letter.body, body);
    }
}
