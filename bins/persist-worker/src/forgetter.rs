//! Forgets what plays were counted when nobody asks for it any more: entries that are acknowledged, ids
//! of plays after their time.

use mayfly_cold::Cold;
use mayfly_core::EntryId;
use mayfly_hot::{Hot, Stream};

/// Forgets what is counted.
pub struct Forgetter {
    hot: Hot,
    cold: Cold,
    /// Up to where entries are forgotten.
    forgotten: EntryId,
}

impl Forgetter {
    /// A forgetter between the two stores.
    pub fn new(hot: Hot, cold: Cold) -> Self {
        Self { hot, cold, forgotten: EntryId::START }
    }

    /// Forgets what can be forgotten by now; `seldom` also ids of plays.
    ///
    /// Of entries, the place up to which all are acknowledged stays known: those behind it may be
    /// counted again only if they never were. So it does no harm if Redis loses acknowledgements in
    /// a crash, or a worker wakes up that slept over them.
    pub async fn forget(&mut self, seldom: bool) -> anyhow::Result<()> {
        if seldom {
            self.cold.forget_known_plays().await?;
        }
        let settled = self.hot.settled_up_to(Stream::Plays).await?;
        if let Some(up_to) = settled.filter(|up_to| *up_to != self.forgotten) {
            self.cold.forget_counted(up_to).await?;
            self.forgotten = up_to;
        }
        Ok(())
    }
}
