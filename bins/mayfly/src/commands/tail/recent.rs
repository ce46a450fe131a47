//! What was shown a moment ago.

use std::collections::{HashSet, VecDeque};

use mayfly_core::MessageId;

/// Repeats come from the seam between two connections, which is shorter.
const MESSAGES_MAX: usize = 10_000;

/// The ids of the latest messages.
#[derive(Debug, Default)]
pub(super) struct Recent {
    known: HashSet<MessageId>,
    order: VecDeque<MessageId>,
}

impl Recent {
    /// Notes a message; says whether it is new.
    pub(super) fn insert(&mut self, id: MessageId) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > MESSAGES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use mayfly_core::Timestamp;

    use super::*;

    #[test]
    fn a_repeat_is_known_until_many_others_came() {
        let id = |number| MessageId::first_of(Timestamp::from_millis(number));
        let mut recent = Recent::default();
        assert!(recent.insert(id(0)));
        assert!(!recent.insert(id(0)));
        for number in 1..=MESSAGES_MAX {
            assert!(recent.insert(id(i64::try_from(number).expect("it is small"))));
        }
        assert!(recent.insert(id(0)), "what is long ago is forgotten");
        assert_eq!(recent.known.len(), MESSAGES_MAX);
    }
}
