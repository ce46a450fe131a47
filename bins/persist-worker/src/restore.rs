//! After Redis lost its data: makes hot copies and inboxes again of what Postgres knows to be live.
//!
//! Only messages that are older than the epoch are made again, page by page in the order of ids. A
//! page counts where it follows the one before, and nowhere twice: any number of workers may be at
//! it, and one that is cut off is followed by another.

use std::time::Duration;

use mayfly_cold::{Cold, StoredMessage};
use mayfly_core::{Clock, MessageId, SystemClock, Timestamp, limits};
use mayfly_hot::{Hot, LiveMessage, Restored, Stream};
use tracing::info;
use uuid::Uuid;

/// How often it is looked for that.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// So long after an epoch began, batches of the one before may still be committed: until then all
/// is gone through again and again.
const IN_FLIGHT: Duration = Duration::from_secs(15);
/// Messages of one page: at most 4 MiB or so, whatever is in them.
const PAGE_MESSAGES: u32 = 64;

/// Where an epoch has just begun, makes copies again until all of it are there.
pub async fn restore(hot: &Hot, cold: &Cold) -> anyhow::Result<()> {
    let mut made = 0;
    loop {
        let Some(ledger) = hot.find_ledger(Stream::Messages).await? else { return Ok(()) };
        let Restored::UpTo(last) = hot.find_restored().await? else { return Ok(()) };
        let now = SystemClock.now();
        let after = last.parse().unwrap_or_else(|_| oldest_live(now));
        // The name of an epoch is a UUIDv7: what is older than it is older than the epoch.
        let before = MessageId::from(Uuid::try_parse(&ledger.epoch)?);
        let live = cold.list_live_messages(after, before, now, PAGE_MESSAGES).await?;
        let is_young = before > MessageId::first_of(now.before(IN_FLIGHT));
        let to = match live.last() {
            Some(message) => Restored::UpTo(message.id.to_string()),
            None if is_young => Restored::UpTo(String::new()),
            None => Restored::Done,
        };
        made += live.len();
        let page: Vec<_> = live.into_iter().map(|message| to_live(message, now)).collect();
        let from = Restored::UpTo(last);
        hot.restore_copies(&ledger.epoch, &from, &to, &page).await?;
        if live_is_over(&to) {
            if made > 0 {
                info!(messages = made, epoch = ledger.epoch, "made hot copies again");
            }
            return Ok(());
        }
    }
}

/// Whether this page was the last one for now.
fn live_is_over(to: &Restored) -> bool {
    match to {
        Restored::UpTo(id) => id.is_empty(),
        Restored::Done => true,
    }
}

/// Nothing older can be live.
fn oldest_live(now: Timestamp) -> MessageId {
    MessageId::first_of(now.before(limits::TTL_MAX))
}

fn to_live(message: StoredMessage, now: Timestamp) -> LiveMessage {
    LiveMessage {
        id: message.id,
        username: message.username,
        remaining: message.expires_at.since(now),
        json: message.json,
    }
}
