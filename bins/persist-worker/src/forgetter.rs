//! Forgets what plays were counted when it cannot come again: entries that are acknowledged for
//! certain, ids of plays after their time.

use std::{collections::VecDeque, time::Duration};

use mayfly_cold::Cold;
use mayfly_core::EntryId;
use mayfly_hot::{Hot, Stream};
use tokio::time::Instant;

/// An acknowledgement that Redis has had for so long is on its disk: what it can lose in a crash are
/// the last two seconds (`appendfsync everysec`).
const CERTAIN_AFTER: Duration = Duration::from_secs(5);

/// Forgets what is counted.
pub struct Forgetter {
    hot: Hot,
    cold: Cold,
    /// Up to where entries were acknowledged, and since when that is known, the oldest first: one a
    /// second, for [`CERTAIN_AFTER`].
    settled: VecDeque<(Instant, EntryId)>,
    /// Up to where entries are forgotten.
    forgotten: EntryId,
}

impl Forgetter {
    /// A forgetter between the two stores.
    pub fn new(hot: Hot, cold: Cold) -> Self {
        Self { hot, cold, settled: VecDeque::new(), forgotten: EntryId::START }
    }

    /// Forgets what can be forgotten by now; `seldom` also ids of plays.
    pub async fn forget(&mut self, seldom: bool) -> anyhow::Result<()> {
        if seldom {
            self.cold.forget_known_plays().await?;
        }
        let now = Instant::now();
        if let Some(up_to) = self.hot.settled_up_to(Stream::Plays).await? {
            self.settled.push_back((now, up_to));
        }
        let mut certain = None;
        while let Some((since, up_to)) = self.settled.front()
            && now.duration_since(*since) >= CERTAIN_AFTER
        {
            certain = Some(*up_to);
            self.settled.pop_front();
        }
        if let Some(up_to) = certain.filter(|up_to| *up_to != self.forgotten) {
            self.cold.forget_counted(up_to).await?;
            self.forgotten = up_to;
        }
        Ok(())
    }
}
