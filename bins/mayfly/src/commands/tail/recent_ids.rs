//! Detects messages that have been printed recently.

use std::collections::{HashSet, VecDeque};

use mayfly_core::MessageId;

/// The maximum number of stored IDs. After a reconnect, a server repeats fewer messages than this.
const IDS_MAX: usize = 10_000;

/// The IDs of the latest messages.
#[derive(Debug, Default)]
pub(super) struct RecentIds {
    ids: HashSet<MessageId>,
    order: VecDeque<MessageId>,
}

impl RecentIds {
    /// Adds an ID. Returns whether it is new.
    pub(super) fn insert(&mut self, id: MessageId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use mayfly_core::Timestamp;

    use super::*;

    #[test]
    fn duplicate_is_detected_until_many_ids_follow() {
        let id = |number| MessageId::lower_bound(Timestamp::from_millis(number));
        let mut recent = RecentIds::default();
        assert!(recent.insert(id(0)));
        assert!(!recent.insert(id(0)));
        for number in 1..=IDS_MAX {
            assert!(recent.insert(id(i64::try_from(number).expect("a small number"))));
        }
        assert!(recent.insert(id(0)), "the oldest ID was evicted");
        assert_eq!(recent.ids.len(), IDS_MAX);
    }
}
