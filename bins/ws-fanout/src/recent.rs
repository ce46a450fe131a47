//! The last batches, so that who was away for a moment is brought to the present without a
//! question to Redis, and without a gap to what is live.

use std::{collections::VecDeque, sync::Arc};

use mayfly_core::EntryId;

use crate::batch::Batch;

/// Bytes of batches that are kept. All threads keep the same ones, so they cost once.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The last batches of one epoch, without a hole between them.
#[derive(Default)]
pub(crate) struct Recent {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
}

impl Recent {
    /// Adds the next batch; the oldest go where there are too many.
    pub(crate) fn push(&mut self, batch: Arc<Batch>) {
        self.bytes += batch.weight();
        self.batches.push_back(batch);
        while self.bytes > BYTES_MAX && self.batches.len() > 1 {
            if let Some(oldest) = self.batches.pop_front() {
                self.bytes -= oldest.weight();
            }
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }

    /// What lies behind a point: the index of the first batch, and how many of its entries do not
    /// lie behind it. Nothing if the point is not known.
    pub(crate) fn behind(&self, entry: EntryId) -> Option<(usize, usize)> {
        let index = self.batches.partition_point(|batch| batch.end.entry < entry);
        Some((index, self.batches.get(index)?.count_up_to(entry)?))
    }

    /// One of the batches, the oldest first.
    pub(crate) fn get(&self, index: usize) -> Option<Arc<Batch>> {
        self.batches.get(index).cloned()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }
}

#[cfg(test)]
mod tests {
    use mayfly_core::{LiveEntry, LiveEvent, Position};

    use super::*;

    fn batch(before: u64, ids: &[u64], bytes: usize) -> Arc<Batch> {
        let id = |millis| EntryId { millis, number: 0 };
        let entry = |&millis: &u64| {
            let event = LiveEvent::Message { channel: "a".into(), json: vec![b'x'; bytes].into() };
            LiveEntry { id: id(millis), request_id: "".into(), event }
        };
        let end = id(*ids.last().expect("there is one"));
        Arc::new(Batch::encode(
            Position::new("e", id(before)),
            end,
            ids.iter().map(entry).collect(),
        ))
    }

    fn behind(recent: &Recent, millis: u64) -> Option<(usize, usize)> {
        recent.behind(EntryId { millis, number: 0 })
    }

    #[test]
    fn what_lies_behind_a_known_point_is_found() {
        let mut recent = Recent::default();
        recent.push(batch(5, &[6, 8], 10));
        recent.push(batch(8, &[9], 10));
        assert_eq!(behind(&recent, 5), Some((0, 0)));
        assert_eq!(behind(&recent, 6), Some((0, 1)));
        assert_eq!(behind(&recent, 8), Some((0, 2)));
        assert_eq!(behind(&recent, 9), Some((1, 1)));
        for unknown in [4, 7, 10] {
            assert_eq!(behind(&recent, unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_oldest_go() {
        let mut recent = Recent::default();
        for number in 0..6 {
            recent.push(batch(number, &[number + 1], BYTES_MAX / 4));
        }
        assert_eq!(behind(&recent, 0), None);
        assert!(behind(&recent, 5).is_some());
    }
}
