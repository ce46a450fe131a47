//! What a batch holds: deliveries, sorted by what can be stored together and what cannot be read.

use mayfly_cold::{Batch, DeadLetter, Expiry, NewRow};
use mayfly_core::{MessageId, entry::Entry, message::MessageView};
use mayfly_hot::Delivery;

/// The name of the stream, as the dead letters and the ledger call it.
pub const STREAM: &str = "messages";

/// Deliveries that go into one transaction: of one epoch, all readable.
#[derive(Debug)]
pub struct Group<'a> {
    /// The deliveries, for what comes after the commit.
    pub deliveries: Vec<&'a Delivery>,
    /// The same as rows.
    pub batch: Batch<'a>,
}

impl<'a> Group<'a> {
    fn new(epoch: &'a str) -> Self {
        Self { deliveries: Vec::new(), batch: Batch { epoch, ..Batch::default() } }
    }

    /// The ids of the entries.
    pub fn entry_ids(&self) -> Vec<&'a str> {
        self.deliveries.iter().map(|delivery| delivery.entry_id.as_str()).collect()
    }

    /// The ids of the messages that are new.
    pub fn message_ids(&self) -> Vec<MessageId> {
        self.batch.messages.iter().map(|row| row.message.id).collect()
    }
}

/// A delivery that cannot be stored, and why.
#[derive(Debug)]
pub struct Unreadable<'a> {
    /// What was delivered.
    pub delivery: &'a Delivery,
    /// Why nobody can read it.
    pub reason: String,
}

/// Sorts deliveries into groups that can be stored together. The order within an epoch is kept.
pub fn sort<'a>(
    deliveries: impl IntoIterator<Item = &'a Delivery>,
) -> (Vec<Group<'a>>, Vec<Unreadable<'a>>) {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut unreadable = Vec::new();
    for delivery in deliveries {
        match read(delivery) {
            Ok(content) => {
                let epoch = delivery.meta.epoch.as_str();
                let known = groups.iter().position(|group| group.batch.epoch == epoch);
                let place = known.unwrap_or_else(|| {
                    groups.push(Group::new(epoch));
                    groups.len() - 1
                });
                let group = &mut groups[place];
                group.deliveries.push(delivery);
                match content {
                    Content::Message(row) => group.batch.messages.push(row),
                    Content::Expiries(expiries) => group.batch.expiries.extend(expiries),
                }
            }
            Err(reason) => unreadable.push(Unreadable { delivery, reason }),
        }
    }
    (groups, unreadable)
}

enum Content<'a> {
    Message(NewRow<'a>),
    Expiries(Vec<Expiry>),
}

fn read(delivery: &Delivery) -> Result<Content<'_>, String> {
    match &delivery.entry {
        Ok(Entry::Message(json)) => {
            let message = MessageView::from_json(json).map_err(|error| error.to_string())?;
            if holds_nul(&message) {
                return Err("a text holds U+0000".into());
            }
            Ok(Content::Message(NewRow { message, body_bytes: json.len() }))
        }
        Ok(Entry::Expire { at, ids }) => {
            let at = *at;
            Ok(Content::Expiries(ids.iter().map(|id| Expiry { id: *id, at }).collect()))
        }
        Err((error, _)) => Err(error.to_string()),
    }
}

/// No service of ours accepts U+0000; Postgres would refuse the whole batch for it.
fn holds_nul(message: &MessageView<'_>) -> bool {
    let texts = [&message.username, &message.text, &message.city, &message.state];
    message.channel.contains('\0') || texts.into_iter().flatten().any(|text| text.contains('\0'))
}

/// Makes a dead letter of a delivery.
pub fn dead_letter(delivery: &Delivery, reason: String, attempts: u32) -> DeadLetter {
    let (body, message_id) = match &delivery.entry {
        Ok(Entry::Message(json)) => {
            (json.clone(), MessageView::from_json(json).ok().map(|message| message.id))
        }
        Ok(Entry::Expire { at, ids }) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            (format!("{} {}", at.as_millis(), ids.join(" ")).into_bytes(), None)
        }
        Err((_, body)) => (body.clone(), None),
    };
    let meta = &delivery.meta;
    DeadLetter {
        stream: STREAM,
        epoch: meta.epoch.clone(),
        entry_id: delivery.entry_id.clone(),
        kind: delivery.kind.clone(),
        message_id,
        body,
        meta: format!("{} {}", meta.request_id, meta.traceparent),
        reason,
        attempts,
    }
}

#[cfg(test)]
mod tests {
    use mayfly_core::entry::{EXPIRE_V1, MESSAGE_V1, Meta, UnreadableEntry};

    use super::*;

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
        let (groups, unreadable) = sort(&all);
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
        let (groups, unreadable) = sort(&all);
        assert!(groups.is_empty());
        assert_eq!(unreadable.len(), 3);
        let letter = dead_letter(&all[0], "unknown".into(), 0);
        assert_eq!((letter.body.as_slice(), letter.message_id), (b"x".as_slice(), None));
    }

    #[test]
    fn an_expiry_keeps_its_form_among_the_dead_letters() {
        let id: MessageId = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("it is an id");
        let body = format!("1795201620123 {id}").into_bytes();
        let entry = Entry::decode(EXPIRE_V1, body.clone());
        let letter = dead_letter(&delivery("e", EXPIRE_V1, entry), "no".into(), 5);
        assert_eq!(letter.body, body);
    }
}
