//! Messages.

mod accept;
mod expire;
mod inbox;
mod restore;
mod take;

use mayfly_core::{Message, MessageId, NewMessage, Timestamp, message::MessageView};
use mayfly_hot::{
    Capacity, ExhaustedClients, MessageFinder, MessageWrite, MessageWriteRequest, MessageWriter,
    ReplayedWrite, WriteOutcome,
};
use uuid::Uuid;

use crate::{TestStore, now, origin};

/// Parses the JSON of a request and returns the accepted message.
pub(crate) fn message(json: &str) -> Message {
    let message = NewMessage::from_json(json).expect("a valid message");
    message.accept(MessageId::from(Uuid::now_v7()), now())
}

/// Returns an accepted message on a channel for a username.
pub(crate) fn message_in(channel: &str, username: &str) -> Message {
    message(&format!(r#"{{"channel":"{channel}","username":"{username}","text":"x"}}"#))
}

/// Returns accepted messages for a username, oldest first.
pub(crate) fn messages_to(username: &str, count: usize) -> Vec<Message> {
    (0..count).map(|n| message(&format!(r#"{{"username":"{username}","text":"{n}"}}"#))).collect()
}

pub(crate) fn write_request(messages: &[Message]) -> MessageWriteRequest {
    MessageWriteRequest {
        messages: messages.iter().map(MessageWrite::from).collect(),
        origin: origin(),
        limit: None,
        idempotency: None,
    }
}

impl TestStore {
    pub(crate) fn message_writer(&self) -> MessageWriter {
        MessageWriter::start(&self.hot, &self.settings, ExhaustedClients::default())
    }

    /// Writes messages in one request.
    pub(crate) async fn write(&self, messages: &[Message]) -> WriteOutcome<ReplayedWrite> {
        let written = self.message_writer().write(write_request(messages)).await;
        written.expect("Redis responds")
    }

    /// Writes messages and asserts that they are accepted.
    pub(crate) async fn accept(&self, messages: &[Message]) {
        assert_eq!(self.write(messages).await, WriteOutcome::Accepted(None));
    }

    /// Returns a message from its hot copy, the queue or the taken messages.
    pub(crate) async fn find(&self, id: MessageId) -> Option<Vec<u8>> {
        let finder = MessageFinder::start(&self.hot);
        let found = finder.find_message(id).await.expect("Redis responds");
        let start = finder.find_start(id).await.expect("Redis responds");
        let expected = found.as_ref().map(|json| json[..json.len().min(2_048)].to_vec());
        assert_eq!(start, expected, "the start of the same message");
        found
    }

    /// Returns whether a message is live.
    pub(crate) async fn is_live(&self, id: MessageId) -> bool {
        self.has_key(&self.keys().message(id)).await
    }

    /// Deletes the hot copies, as expiry does. The IDs stay in the inbox.
    pub(crate) async fn let_expire(&self, messages: &[Message]) {
        for message in messages {
            self.query::<()>(&["DEL", &self.keys().message(message.id)]).await;
        }
    }

    /// Returns the entries of a stream: their IDs and fields.
    pub(crate) async fn entries(&self, key: &str) -> Vec<(String, Vec<(String, String)>)> {
        self.query(&["XRANGE", key, "-", "+"]).await
    }
}

pub(crate) fn jsons(messages: &[Message]) -> Vec<Vec<u8>> {
    messages.iter().map(Message::to_json).collect()
}

/// Returns the JSON of a message with another expiry time.
pub(crate) fn json_expired_at(message: &Message, at: Timestamp) -> Vec<u8> {
    Message { expires_at: at, ..message.clone() }.to_json()
}

/// Returns the expiry time in the JSON of a message.
pub(crate) fn expiry_of(json: &[u8]) -> Timestamp {
    MessageView::from_json(json).expect("a message").expires_at
}

pub(crate) const FULL_QUEUE: WriteOutcome<ReplayedWrite> =
    WriteOutcome::CapacityExceeded(Capacity::Queue);
pub(crate) const FULL_INBOX: WriteOutcome<ReplayedWrite> =
    WriteOutcome::CapacityExceeded(Capacity::Inbox);
