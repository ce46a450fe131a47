//! Publications on the Redis channel for the feed `messages`: one per atomic write.
//!
//! ```text
//! v1 <epoch> <entry before the first>
//! from <request id> <trace context>
//! <entry> message <channel> <json>
//! <entry> expire <id>:<channel> <id>:<channel> …
//! ```
//!
//! An `<entry>` is the ID of a stream entry, and an `<id>` is the ID of a message. A new epoch
//! begins after Redis has lost data. Lines end with `\n`; the JSON of a message contains no line
//! breaks. A `from` line applies to all entries below it, up to the next `from` line. The ID of the
//! entry before the first one lets a subscriber detect missing entries and read them from the
//! stream.

use std::str;

use bytes::Bytes;

use super::{EntryId, ExpiredMessage, LiveEntry, LiveEvent};

/// A publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The epoch of the entries.
    pub epoch: String,
    /// The ID of the entry before the first one.
    pub before: EntryId,
    /// The entries, in stream order.
    pub entries: Vec<LiveEntry>,
}

/// The error for a publication that cannot be parsed. The subscriber must read the entries from the
/// stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed publication")]
pub struct MalformedPublication;

impl Publication {
    /// Parses a publication. The messages are slices of `bytes`, not copies.
    pub fn parse(bytes: &Bytes) -> Result<Self, MalformedPublication> {
        parse(bytes).ok_or(MalformedPublication)
    }
}

fn parse(bytes: &Bytes) -> Option<Publication> {
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
            "expire" => LiveEvent::Expired(parse_expired(str::from_utf8(body).ok()?)?),
            // A newer version wrote this entry.
            _ => continue,
        };
        entries.push(LiveEntry { id: word.parse().ok()?, request_id: request_id.into(), event });
    }
    Some(Publication { epoch, before, entries })
}

fn parse_expired(list: &str) -> Option<Vec<ExpiredMessage>> {
    let parse_one = |word: &str| {
        let (id, channel) = word.split_once(':')?;
        let channel = (!channel.is_empty()).then(|| channel.into());
        Some(ExpiredMessage { id: id.parse().ok()?, channel })
    };
    list.split(' ').map(parse_one).collect()
}

/// Splits a line at the first space.
fn split_word(line: &[u8]) -> Option<(&str, &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    Some((str::from_utf8(&line[..space]).ok()?, &line[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

    #[test]
    fn publication_is_parsed_line_by_line() {
        let text = format!(
            "v1 e1 5-1\nfrom r-1 00-ab-cd-01\n6-0 message lobby {{\"text\":\"a b\"}}\n\
             from  \n6-1 expire {ID}:lobby {ID}:a:b {ID}:\n7-0 later something new\n"
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
    fn malformed_publication_is_an_error() {
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
