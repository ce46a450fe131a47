//! Whether a walk gives each message once, in the order of persistence, and leaves none out: Postgres
//! knows the place of each.

use anyhow::{Context as _, Result};
use mayfly_cold::Cold;
use mayfly_core::{MessageId, Order};

/// What was seen so far. Where places only rise, no message came twice.
#[derive(Debug)]
pub(super) struct Places {
    order: Order,
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
        Self { order, last: None, misplaced: 0, unknown: 0, missed: 0, ended: false }
    }

    /// Looks at the messages of the next page.
    pub(super) async fn check(&mut self, cold: &Cold, ids: &[MessageId]) -> Result<()> {
        let places = cold.find_places(ids).await.context("Postgres cannot be asked")?;
        let known: Vec<i64> = places.iter().flatten().copied().collect();
        self.unknown += (ids.len() - known.len()) as u64;
        // A walk from the newest begins with it.
        let from = match (self.last, self.order) {
            (None, Order::Desc) => known.first().map(|first| first.saturating_add(1)),
            (last, _) => last,
        };
        let followed = self.follow(&known);
        if let Some(last) = self.last {
            let there = self.count_between(cold, from, last).await?;
            self.missed += there.saturating_sub(followed);
        }
        Ok(())
    }

    /// Looks whether the walk ended where the messages do.
    pub(super) async fn check_end(&mut self, cold: &Cold) -> Result<()> {
        if self.order == Order::Desc
            && let Some(last) = self.last
        {
            self.missed += self.count_between(cold, Some(last), i64::MIN).await?;
        }
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

    /// How many messages there are behind one place, up to another.
    async fn count_between(&self, cold: &Cold, behind: Option<i64>, up_to: i64) -> Result<u64> {
        let counted = match self.order {
            Order::Asc => cold.count_places(behind.map_or(0, |last| last.saturating_add(1)), up_to),
            Order::Desc => cold.count_places(up_to, behind.map_or(i64::MAX, |last| last - 1)),
        };
        counted.await.context("Postgres cannot be asked")
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
