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

    /// What lies behind a point: batches, and how many entries of each are to be left out. Nothing
    /// if the point is not known.
    pub(crate) fn behind(&self, entry: EntryId) -> Option<Vec<(Arc<Batch>, usize)>> {
        let index = self.batches.partition_point(|batch| batch.end.entry < entry);
        let skipped = self.batches.get(index)?.count_up_to(entry)?;
        let batches = self.batches.range(index..).cloned();
        let skips = std::iter::once(skipped).chain(std::iter::repeat(0));
        Some(batches.zip(skips).filter(|(batch, skip)| *skip < batch.len()).collect())
    }
}

#[cfg(test)]
mod tests {
    use mayfly_core::{LiveEntry, LiveEvent};

    use super::*;

    fn batch(before: u64, ids: &[u64], bytes: usize) -> Arc<Batch> {
        let id = |millis| EntryId { millis, number: 0 };
        let entry = |&millis: &u64| {
            let event = LiveEvent::Message { channel: "a".into(), json: vec![b'x'; bytes].into() };
            LiveEntry { id: id(millis), request_id: "".into(), event }
        };
        Arc::new(Batch::encode("e", id(before), ids.iter().map(entry).collect()))
    }

    fn behind(recent: &Recent, millis: u64) -> Option<Vec<(u64, usize)>> {
        let found = recent.behind(EntryId { millis, number: 0 })?;
        Some(found.iter().map(|(batch, skip)| (batch.end.entry.millis, *skip)).collect())
    }

    #[test]
    fn what_lies_behind_a_known_point_is_found() {
        let mut recent = Recent::default();
        recent.push(batch(5, &[6, 8], 10));
        recent.push(batch(8, &[9], 10));
        assert_eq!(behind(&recent, 5), Some(vec![(8, 0), (9, 0)]));
        assert_eq!(behind(&recent, 6), Some(vec![(8, 1), (9, 0)]));
        assert_eq!(behind(&recent, 8), Some(vec![(9, 0)]));
        assert_eq!(behind(&recent, 9), Some(vec![]));
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
