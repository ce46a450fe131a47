//! The latest batches, from which a client that was disconnected briefly can resume without a Redis
//! read.

use std::{collections::VecDeque, sync::Arc};

use mayfly_core::EntryId;

use crate::frames::Batch;

/// Maximum size of the buffer, in bytes. All workers share the memory of the buffered batches.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The latest consecutive batches of one epoch (see [`Position`](mayfly_core::Position)).
#[derive(Default)]
pub(crate) struct ReplayBuffer {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
}

impl ReplayBuffer {
    /// Appends the next batch and evicts the oldest batches while the buffer exceeds its maximum
    /// size. Never evicts the appended batch.
    pub(crate) fn push(&mut self, batch: Arc<Batch>) {
        self.bytes += batch.size_bytes();
        self.batches.push_back(batch);
        while self.bytes > BYTES_MAX && self.batches.len() > 1 {
            if let Some(oldest) = self.batches.pop_front() {
                self.bytes -= oldest.size_bytes();
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }

    /// Returns the index of the batch with which a replay after `entry` continues, and the number
    /// of entries to skip in that batch. Returns `None` if `entry` is not buffered.
    pub(crate) fn find_after(&self, entry: EntryId) -> Option<(usize, usize)> {
        let index = self.batches.partition_point(|batch| batch.end.entry < entry);
        Some((index, self.batches.get(index)?.count_up_to(entry)?))
    }

    /// Returns a batch by index, oldest first.
    pub(crate) fn get(&self, index: usize) -> Option<Arc<Batch>> {
        self.batches.get(index).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }
}

#[cfg(test)]
mod tests {
    use mayfly_core::{LiveEntry, LiveEvent, Position};

    use super::*;
    use crate::hub::ConnectionMemory;

    fn batch(before: u64, ids: &[u64], bytes: usize) -> Arc<Batch> {
        let id = |millis| EntryId { millis, number: 0 };
        let entry = |&millis: &u64| {
            let event = LiveEvent::Message { channel: "a".into(), json: vec![b'x'; bytes].into() };
            LiveEntry { id: id(millis), request_id: "".into(), event }
        };
        let end = id(*ids.last().expect("at least one ID"));
        Arc::new(Batch::encode(
            Position::new("e", id(before)),
            end,
            ids.iter().map(entry).collect(),
            &ConnectionMemory::new(0),
        ))
    }

    fn find_after(buffer: &ReplayBuffer, millis: u64) -> Option<(usize, usize)> {
        buffer.find_after(EntryId { millis, number: 0 })
    }

    #[test]
    fn entries_after_a_buffered_position_are_found() {
        let mut buffer = ReplayBuffer::default();
        buffer.push(batch(5, &[6, 8], 10));
        buffer.push(batch(8, &[9], 10));
        assert_eq!(find_after(&buffer, 5), Some((0, 0)));
        assert_eq!(find_after(&buffer, 6), Some((0, 1)));
        assert_eq!(find_after(&buffer, 8), Some((0, 2)));
        assert_eq!(find_after(&buffer, 9), Some((1, 1)));
        for unknown in [4, 7, 10] {
            assert_eq!(find_after(&buffer, unknown), None, "{unknown}");
        }
    }

    #[test]
    fn oldest_batches_are_evicted() {
        let mut buffer = ReplayBuffer::default();
        for number in 0..6 {
            buffer.push(batch(number, &[number + 1], BYTES_MAX / 4));
        }
        assert_eq!(find_after(&buffer, 0), None);
        assert!(find_after(&buffer, 5).is_some());
    }
}
