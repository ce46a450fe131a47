//! Restores the hot copies and inboxes of live messages after Redis has lost its data.
//!
//! A loss of data begins a new epoch. Only messages older than the current epoch are restored, page
//! by page, in ID order. Redis accepts a page only if the page follows the last restored page, so
//! concurrent or interrupted workers restore each page once per pass.

use std::time::Duration;

use mayfly_cold::{ColdStore, StoredMessage};
use mayfly_core::{MessageId, Timestamp, limits};
use mayfly_hot::{HotError, HotStore, LiveMessage, RestoreProgress, Stream};
use tracing::info;
use uuid::Uuid;

/// The interval between two checks.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// How long batches from the previous epoch can still be committed after a new epoch begins. During
/// this time, the pass over all pages is repeated.
const COMMIT_DELAY_MAX: Duration = Duration::from_secs(15);
/// The number of messages per page. The size of a page is at most about 4 MiB.
const PAGE_MESSAGES: u32 = 64;

/// Restores the live messages of earlier epochs in one pass, unless the restoration has been
/// completed in the current epoch.
pub async fn restore(hot: HotStore, cold: ColdStore) -> anyhow::Result<()> {
    let (mut restored, mut epoch) = (0, String::new());
    while let Some(page) = Page::read(&hot, &cold).await? {
        restored += page.restore(&hot).await?;
        let is_last = page.is_last();
        epoch = page.epoch;
        if is_last {
            break;
        }
    }
    if restored > 0 {
        info!(messages = restored, epoch, "restored live messages from Postgres");
    }
    Ok(())
}

/// A page of live messages.
struct Page {
    /// The current epoch.
    epoch: String,
    /// The progress before the page.
    from: RestoreProgress,
    /// The progress after the page.
    to: RestoreProgress,
    messages: Vec<LiveMessage>,
}

impl Page {
    /// Reads the page that follows the current progress. Returns `None` if the restoration has been
    /// completed or no epoch has begun.
    async fn read(hot: &HotStore, cold: &ColdStore) -> anyhow::Result<Option<Self>> {
        let Some(ledger) = hot.ledger().find(Stream::Messages).await? else { return Ok(None) };
        let RestoreProgress::UpTo(last) = hot.messages().find_restore_progress().await? else {
            return Ok(None);
        };
        let now = hot.read_clock().await?;
        let after = last.parse().unwrap_or_else(|_| oldest_live_id(now));
        // The name of an epoch is a UUIDv7, so messages with smaller IDs are older than the epoch.
        let before = MessageId::from(Uuid::try_parse(&ledger.epoch)?);
        let live = cold.messages().list_live(after, before, now, PAGE_MESSAGES).await?;
        let is_young = is_within(before, now, COMMIT_DELAY_MAX);
        let to = match live.up_to {
            Some(id) => RestoreProgress::UpTo(id.to_string()),
            None if is_young => RestoreProgress::UpTo(String::new()),
            None => RestoreProgress::Done,
        };
        let messages = live.messages.into_iter().map(to_live_message).collect();
        Ok(Some(Self { epoch: ledger.epoch, from: RestoreProgress::UpTo(last), to, messages }))
    }

    /// Restores the page and returns the number of its messages. Returns 0 if another worker has
    /// already restored the page, or if the epoch has changed.
    async fn restore(&self, hot: &HotStore) -> Result<usize, HotError> {
        let Self { epoch, from, to, messages } = self;
        let is_restored = hot.messages().restore_page(epoch, from, to, messages).await?;
        Ok(if is_restored { messages.len() } else { 0 })
    }

    /// Returns whether this is the last page of the pass.
    fn is_last(&self) -> bool {
        match &self.to {
            RestoreProgress::UpTo(id) => id.is_empty(),
            RestoreProgress::Done => true,
        }
    }
}

/// Returns whether an ID was generated at most `duration` ago. An ID that is at least `duration` in
/// the future comes from a wrong clock and does not count.
fn is_within(id: MessageId, now: Timestamp, duration: Duration) -> bool {
    let (from, to) = (now.minus(duration), now.plus(duration));
    (MessageId::lower_bound(from)..MessageId::lower_bound(to)).contains(&id)
}

/// Returns a lower bound for the IDs of live messages.
fn oldest_live_id(now: Timestamp) -> MessageId {
    MessageId::lower_bound(now.minus(limits::TTL_MAX))
}

fn to_live_message(message: StoredMessage) -> LiveMessage {
    let StoredMessage { id, username, json, expires_at, .. } = message;
    LiveMessage { id, username, json, expires_at }
}

#[cfg(test)]
mod tests {
    use mayfly_cold::{MessageBatch, NewMessageRow};
    use mayfly_core::{IdGenerator, NewMessage, message::MessageView};

    use super::*;
    use crate::test_stores::{TIMEOUT, TestStores};

    #[tokio::test(flavor = "multi_thread")]
    async fn page_that_another_worker_has_restored_is_not_counted() {
        let TestStores { hot, cold, .. } = TestStores::create("restore_messages").await;
        let now = hot.read_clock().await.expect("Redis responds");
        // The IDs are smaller than the name of the epoch, which begins later.
        let (ids, accepted_at) = (IdGenerator::default(), now.minus(Duration::from_secs(1)));
        let json = || {
            let new = NewMessage::from_json(r#"{"text":"hi","ttl":600}"#).expect("a valid message");
            new.accept(ids.next_id(accepted_at), accepted_at).to_json()
        };
        let full_page: Vec<_> = (0..PAGE_MESSAGES).map(|_| json()).collect();
        let rows = full_page.iter().map(|json| {
            let message = MessageView::from_json(json).expect("a message");
            NewMessageRow { message, body_bytes: json.len() }
        });
        let (messages, expiries) = (rows.collect(), Vec::new());
        let batch = MessageBatch { epoch: "earlier", messages, expiries };
        cold.messages().store_batch(&batch, TIMEOUT).await.expect("the messages are stored");
        hot.ledger().find_or_begin(Stream::Messages).await.expect("Redis responds");

        let read = async || Page::read(&hot, &cold).await.expect("both respond").expect("a page");
        let (page, same_page) = (read().await, read().await);
        let restored = page.restore(&hot).await.expect("Redis responds");
        assert_eq!(restored, full_page.len());
        assert_eq!(same_page.restore(&hot).await.expect("Redis responds"), 0);
    }
}
