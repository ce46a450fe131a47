//! What is published on the feed `messages` for the live side, in one publication per atomic step.
//!
//! ```text
//! v1 <epoch> <entry before the first>
//! from <request id> <trace context>
//! <entry> message <channel> <json>
//! <entry> expire <id>:<channel> <id>:<channel> …
//! ```
//!
//! Lines end with `\n`; the JSON of a message is one line. A `from` line says where the entries
//! below it come from. The entry before the first lets a subscriber see that it missed something:
//! that is what it then reads from the stream.

use std::str;

use bytes::Bytes;

use crate::{
    entry_id::EntryId,
    live_entry::{ExpiredMessage, LiveEntry, LiveEvent},
};

/// One publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The epoch in which the entries were written.
    pub epoch: String,
    /// The entry before the first one.
    pub before: EntryId,
    /// The entries in the order of the stream.
    pub entries: Vec<LiveEntry>,
}

/// A publication that this version cannot read: what it carried has to be read from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the publication is malformed")]
pub struct MalformedPublication;

impl Publication {
    /// Reads a publication; what it carries are parts of `bytes`, not copies.
    pub fn parse(bytes: &Bytes) -> Result<Self, MalformedPublication> {
        read(bytes).ok_or(MalformedPublication)
    }
}

fn read(bytes: &Bytes) -> Option<Publication> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut head = str::from_utf8(lines.next()?).ok()?.split(' ');
    if head.next()? != "v1" {
        return None;
    }
    let (epoch, before) = (head.next()?.to_owned(), head.next()?.parse().ok()?);
    let (mut entries, mut request_id) = (Vec::new(), "");
    for line in lines.filter(|line| !line.is_empty()) {
        let (word, rest) = split_word(line)?;
        if word == "from" {
            request_id = split_word(rest).map_or("", |(id, _)| id);
            continue;
        }
        let (kind, body) = split_word(rest)?;
        let event = match kind {
            "message" => {
                let (channel, json) = split_word(body)?;
                LiveEvent::Message { channel: channel.into(), json: bytes.slice_ref(json) }
            }
            "expire" => LiveEvent::Expired(read_expired(str::from_utf8(body).ok()?)?),
            // Of a newer version; not ours to show.
            _ => continue,
        };
        entries.push(LiveEntry { id: word.parse().ok()?, request_id: request_id.into(), event });
    }
    Some(Publication { epoch, before, entries })
}

fn read_expired(list: &str) -> Option<Vec<ExpiredMessage>> {
    let read_one = |word: &str| {
        let (id, channel) = word.split_once(':')?;
        let channel = (!channel.is_empty()).then(|| channel.into());
        Some(ExpiredMessage { id: id.parse().ok()?, channel })
    };
    list.split(' ').map(read_one).collect()
}

/// Splits at the first blank; the word before it is text.
fn split_word(line: &[u8]) -> Option<(&str, &[u8])> {
    let blank = line.iter().position(|byte| *byte == b' ')?;
    Some((str::from_utf8(&line[..blank]).ok()?, &line[blank + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

    #[test]
    fn a_publication_is_read_line_by_line() {
        let text = format!(
            "v1 e1 5-1\nfrom r-1 00-ab-cd-01\n6-0 message lobby {{\"text\":\"a b\"}}\n\
             from  \n6-1 expire {ID}:lobby {ID}:a:b {ID}:\n7-0 later what it is\n"
        );
        let read = Publication::parse(&Bytes::from(text)).expect("it is a publication");
        assert_eq!((read.epoch.as_str(), read.before), ("e1", "5-1".parse().expect("an id")));
        let [message, expired] = &read.entries[..] else { panic!("{read:?}") };
        assert_eq!(message.id.to_string(), "6-0");
        assert_eq!(&*message.request_id, "r-1");
        let json = Bytes::from_static(b"{\"text\":\"a b\"}");
        assert_eq!(message.event, LiveEvent::Message { channel: "lobby".into(), json });
        let LiveEvent::Expired(list) = &expired.event else { panic!("{expired:?}") };
        let channels: Vec<_> = list.iter().map(|one| one.channel.as_deref()).collect();
        assert_eq!(channels, [Some("lobby"), Some("a:b"), None]);
        assert_eq!(&*expired.request_id, "");
    }

    #[test]
    fn what_is_malformed_is_refused_whole() {
        for wrong in [
            "",
            "v2 e 1-1\n",
            "v1 e\n",
            "v1 e x\n",
            "v1 e 1-1\n2-2\n",
            "v1 e 1-1\n2-2 expire x:y\n",
        ] {
            let parsed = Publication::parse(&Bytes::copy_from_slice(wrong.as_bytes()));
            assert_eq!(parsed, Err(MalformedPublication), "{wrong}");
        }
    }
}
