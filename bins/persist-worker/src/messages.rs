//! Messages, takes and deletions: rows of Postgres.

use std::time::Duration;

use mayfly_cold::{Batch, Cold, ColdError, DeadLetter, Expiry, NewRow, Stored, Tried};
use mayfly_core::{MessageId, entry::Entry, message::MessageView};
use mayfly_hot::{Delivery, Hot, HotError, Stream};

use crate::work::{Group, Work, dead_letter};

/// Stores messages.
pub struct Messages {
    hot: Hot,
    cold: Cold,
    timeout: Duration,
}

impl Messages {
    /// Between the two stores; `timeout` is for a statement.
    pub fn new(hot: Hot, cold: Cold, timeout: Duration) -> Self {
        Self { hot, cold, timeout }
    }
}

impl Work for Messages {
    const STREAM: Stream = Stream::Messages;
    type Batch<'a> = Batch<'a>;
    type Outcome = Stored;

    fn begin(epoch: &str) -> Batch<'_> {
        Batch { epoch, ..Batch::default() }
    }

    fn add<'a>(batch: &mut Batch<'a>, delivery: &'a Delivery) -> Result<u64, String> {
        match &delivery.entry {
            Ok(Entry::Message(json)) => {
                let message = MessageView::from_json(json).map_err(|error| error.to_string())?;
                if holds_nul(&message) {
                    return Err("a text holds U+0000".into());
                }
                batch.messages.push(NewRow { message, body_bytes: json.len() });
                Ok(1)
            }
            Ok(Entry::Expire { at, ids }) => {
                let at = *at;
                batch.expiries.extend(ids.iter().map(|id| Expiry { id: *id, at }));
                Ok(0)
            }
            Ok(Entry::Plays(_)) => Err("plays do not belong into this stream".into()),
            Err((error, _)) => Err(error.to_string()),
        }
    }

    fn weigh(delivery: &Delivery) -> usize {
        match &delivery.entry {
            Ok(Entry::Message(body) | Entry::Plays(body)) | Err((_, body)) => body.len(),
            Ok(Entry::Expire { ids, .. }) => ids.len() * MessageId::TEXT_BYTES,
        }
    }

    async fn store(&self, batch: &Self::Batch<'_>) -> Result<Stored, ColdError> {
        self.cold.store_batch(batch, self.timeout).await
    }

    async fn try_store(&self, batch: &Self::Batch<'_>) -> Result<Tried<Stored>, ColdError> {
        self.cold.try_store_batch(batch, self.timeout).await
    }

    async fn acknowledge(
        &self,
        group: &Group<'_, Self::Batch<'_>>,
        stored: &Stored,
    ) -> Result<(), HotError> {
        // Also of those that another worker stored, and did not acknowledge yet: else a taken message
        // would be found in its entry, as it was before the take.
        let rows = group.batch.messages.iter().map(|row| row.message.id);
        let stored_by_now: Vec<_> = rows.chain(stored.settled.iter().copied()).collect();
        self.hot.ack_messages(&group.entry_ids(), &stored_by_now, &stored.settled).await
    }

    fn count_new(_: &Group<'_, Batch<'_>>, stored: &Stored) -> u64 {
        stored.messages
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
            ..dead_letter::<Self>(delivery, body, reason, attempts)
        }
    }

    async fn acknowledge_dead(
        &self,
        delivery: &Delivery,
        letter: &DeadLetter,
        is_expired: bool,
    ) -> Result<(), HotError> {
        let message: Vec<_> = letter.message_id.into_iter().collect();
        let settled = match &delivery.entry {
            // An expiry that nobody will apply must not stand before its rows for ever.
            Ok(Entry::Expire { ids, .. }) => ids.as_slice(),
            _ if is_expired => message.as_slice(),
            _ => &[],
        };
        self.hot.ack_messages(&[&delivery.entry_id], &message, settled).await
    }

    async fn let_go(&self, entry_ids: &[&str]) -> Result<(), HotError> {
        self.hot.ack_messages(entry_ids, &[], &[]).await
    }
}

/// No service of ours accepts U+0000; Postgres would refuse the whole batch for it.
fn holds_nul(message: &MessageView<'_>) -> bool {
    let texts = [&message.username, &message.text, &message.city, &message.state];
    message.channel.contains('\0') || texts.into_iter().flatten().any(|text| text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use mayfly_core::entry::{EXPIRE_V1, MESSAGE_V1, Meta, UnreadableEntry};

    use super::*;
    use crate::work::sort;

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
    fn what_is_stored_together_is_of_one_epoch_and_keeps_its_order() {
        let all = [message("e1", "a"), message("e2", "b"), message("e1", "c")];
        let (groups, unreadable) = sort::<Messages>(&all);
        assert!(unreadable.is_empty());
        assert_eq!(groups.iter().map(|group| group.batch.epoch).collect::<Vec<_>>(), ["e1", "e2"]);
        let texts: Vec<_> =
            groups[0].batch.messages.iter().map(|row| row.message.text.clone()).collect();
        assert_eq!(texts, [Some("a".to_owned()), Some("c".to_owned())]);
    }

    #[test]
    fn what_nobody_can_read_is_set_aside_with_its_reason() {
        let all = [
            delivery(
                "e",
                "message.v9",
                Err((UnreadableEntry::UnknownKind("message.v9".into()), b"x".to_vec())),
            ),
            delivery("e", MESSAGE_V1, Ok(Entry::Message(b"{}".to_vec()))),
            message("e", "\\u0000"),
        ];
        let (groups, unreadable) = sort::<Messages>(&all);
        assert!(groups.is_empty());
        assert_eq!(unreadable.len(), 3);
        let letter = Messages::to_dead_letter(&all[0], "unknown".into(), 0);
        assert_eq!((letter.body.as_slice(), letter.message_id), (b"x".as_slice(), None));
    }

    #[test]
    fn an_expiry_keeps_its_form_among_the_dead_letters() {
        let id: MessageId = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("it is an id");
        let body = format!("1795201620123 {id}").into_bytes();
        let entry = Entry::decode(EXPIRE_V1, body.clone());
        let letter = Messages::to_dead_letter(&delivery("e", EXPIRE_V1, entry), "no".into(), 5);
        assert_eq!(letter.body, body);
    }
}
