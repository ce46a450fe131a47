//! Whether a walk gives each message once, in the order of persistence, and leaves none out: Postgres
//! knows the place of each.

use anyhow::{Context as _, Result};
use mayfly_cold::Cold;
use mayfly_core::{MessageId, Order};

/// Places counted at once: so many are counted well within the time that Postgres gives.
const COUNTED_AT_ONCE: i64 = 100_000;

/// What was seen so far. Where places only rise, no message came twice.
#[derive(Debug)]
pub(super) struct Places {
    order: Order,
    /// The highest place when the walk began: the whole way up to it must be walked. 0 is none.
    highest: i64,
    /// The place of the message before, in the direction of the walk.
    last: Option<i64>,
    /// Messages that came again, or before one that they should follow.
    misplaced: u64,
    /// Messages that Postgres does not know.
    unknown: u64,
    /// Messages that lie between those that came.
    missed: u64,
    ended: bool,
}

impl Places {
    pub(super) fn new(order: Order) -> Self {
        Self { order, highest: 0, last: None, misplaced: 0, unknown: 0, missed: 0, ended: false }
    }

    /// Notes what is stored, before the first page is asked for.
    pub(super) async fn begin(&mut self, cold: &Cold) -> Result<()> {
        let highest = cold.find_highest_place().await.context("Postgres cannot be asked")?;
        self.highest = highest.unwrap_or(0);
        Ok(())
    }

    /// Looks at the messages of the next page.
    pub(super) async fn check(&mut self, cold: &Cold, ids: &[MessageId]) -> Result<()> {
        let places = cold.find_places(ids).await.context("Postgres cannot be asked")?;
        let known: Vec<i64> = places.iter().flatten().copied().collect();
        self.unknown += (ids.len() - known.len()) as u64;
        let before = self.last;
        let followed = self.follow(&known);
        if let (Some(first), Some(last)) = (known.first(), self.last) {
            let there = match self.order {
                Order::Asc => count(cold, before.map_or(1, |place| place + 1), last).await?,
                // A walk from the newest begins with it, or with one stored since.
                Order::Desc => {
                    let from = before.map_or(self.highest.max(*first), |place| place - 1);
                    count(cold, last, from).await?
                }
            };
            self.missed += there.saturating_sub(followed);
        }
        Ok(())
    }

    /// Looks whether the walk ended where the messages do.
    pub(super) async fn check_end(&mut self, cold: &Cold) -> Result<()> {
        self.missed += match self.order {
            Order::Asc => count(cold, self.last.map_or(1, |last| last + 1), self.highest).await?,
            Order::Desc => count(cold, 1, self.last.map_or(self.highest, |last| last - 1)).await?,
        };
        self.ended = true;
        Ok(())
    }

    /// Goes on to each place that follows; gives how many did.
    fn follow(&mut self, places: &[i64]) -> u64 {
        let mut followed = 0;
        for place in places {
            let follows = self.last.is_none_or(|last| match self.order {
                Order::Asc => *place > last,
                Order::Desc => *place < last,
            });
            if follows {
                self.last = Some(*place);
                followed += 1;
            } else {
                self.misplaced += 1;
            }
        }
        followed
    }

    pub(super) fn are_right(&self) -> bool {
        self.ended && self.misplaced + self.unknown + self.missed == 0
    }

    pub(super) fn describe(&self) -> String {
        let order = match self.order {
            Order::Asc => "in the order of persistence",
            Order::Desc => "newest first",
        };
        if self.misplaced + self.unknown + self.missed == 0 {
            let end = if self.ended { "none was left out" } else { "the end was not reached" };
            return format!("each once and {order}; {end}");
        }
        format!(
            "wrong: {} came again or out of order, {} are not in Postgres, {} were left out",
            self.misplaced, self.unknown, self.missed
        )
    }
}

/// How many messages there are from one place to another.
async fn count(cold: &Cold, mut first: i64, last: i64) -> Result<u64> {
    let mut counted = 0;
    while first <= last {
        let end = last.min(first + COUNTED_AT_ONCE - 1);
        counted += cold.count_places(first, end).await.context("Postgres cannot be asked")?;
        first = end + 1;
    }
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_or_too_early_is_noticed() {
        let mut rising = Places::new(Order::Asc);
        assert_eq!(rising.follow(&[3, 4, 9]), 3);
        assert_eq!(rising.follow(&[9, 10, 5, 11]), 2);
        assert_eq!((rising.misplaced, rising.last), (2, Some(11)));
        let mut falling = Places::new(Order::Desc);
        assert_eq!(falling.follow(&[9, 4, 3, 3, 5]), 3);
        assert_eq!((falling.misplaced, falling.last), (2, Some(3)));
        assert!(!falling.are_right() && falling.describe().starts_with("wrong: 2 "));
    }
}
