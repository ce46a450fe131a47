//! Restores the hot copies and inboxes of live messages after Redis has lost its data.
//!
//! A loss of data begins a new epoch. Only messages older than the current epoch are restored, page
//! by page, in ID order. Redis accepts a page only if the page follows the last restored page, so
//! concurrent or interrupted workers restore each page once per pass.

use std::time::Duration;

use mayfly_cold::{ColdStore, StoredMessage};
use mayfly_core::{MessageId, Timestamp, limits};
use mayfly_hot::{HotStore, LiveMessage, RestoreProgress, Stream};
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
    let mut restored = 0;
    loop {
        let Some(ledger) = hot.ledger().find(Stream::Messages).await? else { return Ok(()) };
        let RestoreProgress::UpTo(last) = hot.messages().find_restore_progress().await? else {
            return Ok(());
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
        restored += live.messages.len();
        let page: Vec<_> = live.messages.into_iter().map(to_live_message).collect();
        let from = RestoreProgress::UpTo(last);
        hot.messages().restore_page(&ledger.epoch, &from, &to, &page).await?;
        if is_last_page(&to) {
            if restored > 0 {
                info!(
                    messages = restored,
                    epoch = ledger.epoch,
                    "restored live messages from Postgres"
                );
            }
            return Ok(());
        }
    }
}

/// Returns whether an ID was generated at most `duration` ago. An ID that is at least `duration` in
/// the future comes from a wrong clock and does not count.
fn is_within(id: MessageId, now: Timestamp, duration: Duration) -> bool {
    let (from, to) = (now.minus(duration), now.plus(duration));
    (MessageId::lower_bound(from)..MessageId::lower_bound(to)).contains(&id)
}

/// Returns whether this is the last page of the pass.
fn is_last_page(to: &RestoreProgress) -> bool {
    match to {
        RestoreProgress::UpTo(id) => id.is_empty(),
        RestoreProgress::Done => true,
    }
}

/// Returns a lower bound for the IDs of live messages.
fn oldest_live_id(now: Timestamp) -> MessageId {
    MessageId::lower_bound(now.minus(limits::TTL_MAX))
}

fn to_live_message(message: StoredMessage) -> LiveMessage {
    let StoredMessage { id, username, json, expires_at, .. } = message;
    LiveMessage { id, username, json, expires_at }
}
