//! Checks that a walk returns every message once, in the order in which Postgres stored the
//! messages or in reverse order. The check compares the messages with the sequence numbers in
//! Postgres.

use anyhow::{Context as _, Result};
use mayfly_cold::ColdStore;
use mayfly_core::{MessageId, Order};

/// The maximum number of sequence numbers in the range that one query counts. The limit keeps the
/// query well within the statement timeout.
const COUNT_BLOCK: i64 = 100_000;

/// The state of the check. Sequence numbers must strictly increase (or decrease), so a repeated
/// message is out of order.
#[derive(Debug)]
pub(super) struct SequenceCheck {
    order: Order,
    /// The highest sequence number when the walk began; 0 if there was no message.
    highest: i64,
    /// The sequence number of the last message that was in order.
    last: Option<i64>,
    /// The number of messages that were repeated or out of order.
    misplaced: u64,
    /// The number of messages that are not in Postgres.
    unknown: u64,
    /// The number of messages that the walk skipped.
    missing: u64,
    is_finished: bool,
}

impl SequenceCheck {
    pub(super) fn new(order: Order) -> Self {
        Self {
            order,
            highest: 0,
            last: None,
            misplaced: 0,
            unknown: 0,
            missing: 0,
            is_finished: false,
        }
    }

    /// Reads the highest sequence number. The caller must do this before it requests the first
    /// page.
    pub(super) async fn begin(&mut self, cold: &ColdStore) -> Result<()> {
        let highest = cold.messages().find_max_seq().await;
        self.highest = highest.context("cannot read Postgres")?.unwrap_or(0);
        Ok(())
    }

    /// Checks the messages of the next page.
    pub(super) async fn check_page(&mut self, cold: &ColdStore, ids: &[MessageId]) -> Result<()> {
        let seqs = cold.messages().find_seqs(ids).await.context("cannot read Postgres")?;
        let known: Vec<i64> = seqs.iter().flatten().copied().collect();
        self.unknown += (ids.len() - known.len()) as u64;
        let previous = self.last;
        let in_order = self.advance(&known);
        if let (Some(first), Some(last)) = (known.first(), self.last) {
            let expected = match self.order {
                Order::Asc => count(cold, previous.map_or(1, |seq| seq + 1), last).await?,
                // The first message may have been stored after `begin` was called.
                Order::Desc => {
                    let from = previous.map_or(self.highest.max(*first), |seq| seq - 1);
                    count(cold, last, from).await?
                }
            };
            self.missing += expected.saturating_sub(in_order);
        }
        Ok(())
    }

    /// Checks that the walk skipped no message at the end.
    pub(super) async fn check_end(&mut self, cold: &ColdStore) -> Result<()> {
        self.missing += match self.order {
            Order::Asc => count(cold, self.last.map_or(1, |last| last + 1), self.highest).await?,
            Order::Desc => count(cold, 1, self.last.map_or(self.highest, |last| last - 1)).await?,
        };
        self.is_finished = true;
        Ok(())
    }

    /// Advances past the sequence numbers that are in order, and counts the others as misplaced.
    /// Returns how many are in order.
    fn advance(&mut self, seqs: &[i64]) -> u64 {
        let mut in_order = 0;
        for seq in seqs {
            let is_in_order = self.last.is_none_or(|last| match self.order {
                Order::Asc => *seq > last,
                Order::Desc => *seq < last,
            });
            if is_in_order {
                self.last = Some(*seq);
                in_order += 1;
            } else {
                self.misplaced += 1;
            }
        }
        in_order
    }

    fn has_errors(&self) -> bool {
        self.misplaced + self.unknown + self.missing > 0
    }

    pub(super) fn is_passed(&self) -> bool {
        self.is_finished && !self.has_errors()
    }

    pub(super) fn describe(&self) -> String {
        if self.has_errors() {
            return format!(
                "failed: {} repeated or out of order, {} unknown to Postgres, {} missing",
                self.misplaced, self.unknown, self.missing
            );
        }
        let order = match self.order {
            Order::Asc => "oldest first",
            Order::Desc => "newest first",
        };
        let end = if self.is_finished { "none missing" } else { "the end was not reached" };
        format!("every message exactly once, {order}; {end}")
    }
}

/// Counts the messages with sequence numbers from `first` to `last`.
async fn count(cold: &ColdStore, mut first: i64, last: i64) -> Result<u64> {
    let mut total = 0;
    while first <= last {
        let end = last.min(first + COUNT_BLOCK - 1);
        total += cold.messages().count_seqs(first, end).await.context("cannot read Postgres")?;
        first = end + 1;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_and_unordered_messages_are_detected() {
        let mut ascending = SequenceCheck::new(Order::Asc);
        assert_eq!(ascending.advance(&[3, 4, 9]), 3);
        assert_eq!(ascending.advance(&[9, 10, 5, 11]), 2);
        assert_eq!((ascending.misplaced, ascending.last), (2, Some(11)));
        let mut descending = SequenceCheck::new(Order::Desc);
        assert_eq!(descending.advance(&[9, 4, 3, 3, 5]), 3);
        assert_eq!((descending.misplaced, descending.last), (2, Some(3)));
        assert!(!descending.is_passed() && descending.describe().starts_with("failed: 2 "));
    }
}
