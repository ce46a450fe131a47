//! The received part of a body.

use bytes::Bytes;

use super::BodyMemory;
use crate::Problem;

/// Minimum size of a segment, in bytes. Only the last segment of a body can be smaller.
const SEGMENT_BYTES_MIN: usize = 512;
/// Maximum size of a segment, in bytes. Most segments of a large body have this size, so the
/// allocator can easily reuse the memory of freed segments.
const SEGMENT_BYTES_MAX: usize = 64 * 1024;

/// A buffer that collects the chunks of a body in segments. Its memory grows with the received
/// bytes, not with the declared length. A body that arrives in one chunk, which is the usual case,
/// is not copied.
#[derive(Debug)]
pub(super) struct BodyBuffer {
    memory: BodyMemory,
    /// The first chunk, while it is the only one.
    first: Bytes,
    segments: Vec<Vec<u8>>,
    capacity: usize,
    length: usize,
    length_max: usize,
}

impl BodyBuffer {
    /// Creates an empty buffer for at most `length_max` bytes. The buffer reserves its size in
    /// `memory`.
    pub(super) fn new(memory: BodyMemory, length_max: usize) -> Self {
        let (first, segments) = (Bytes::new(), Vec::new());
        Self { memory, first, segments, capacity: 0, length: 0, length_max }
    }

    /// Returns the number of received bytes.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Adds a chunk.
    ///
    /// # Errors
    /// Returns 503 `overloaded` if there is no memory for the chunk.
    pub(super) fn push(&mut self, chunk: Bytes) -> Result<(), Problem> {
        self.length += chunk.len();
        if self.length == chunk.len() {
            self.memory.resize(self.length)?;
            self.first = chunk;
            return Ok(());
        }
        let first = std::mem::take(&mut self.first);
        self.append(&first)?;
        self.append(&chunk)
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<(), Problem> {
        while !bytes.is_empty() {
            match self.segments.last_mut().filter(|last| last.len() < last.capacity()) {
                Some(last) => {
                    let free = last.capacity() - last.len();
                    let (fitting, rest) = bytes.split_at(free.min(bytes.len()));
                    last.extend_from_slice(fitting);
                    bytes = rest;
                }
                None => self.add_segment(bytes.len())?,
            }
        }
        Ok(())
    }

    /// Adds a segment that at least doubles the capacity, unless the maximum segment size or the
    /// rest of the body is smaller.
    fn add_segment(&mut self, needed: usize) -> Result<(), Problem> {
        let size = self.capacity.max(needed).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let size = size.min(self.length_max.saturating_sub(self.capacity)).max(1);
        self.memory.resize(self.capacity + size)?;
        self.capacity += size;
        self.segments.push(Vec::with_capacity(size));
        Ok(())
    }

    /// Returns the whole body and its memory reservation.
    pub(super) fn into_parts(self) -> (Bytes, BodyMemory) {
        let Self { memory, first, mut segments, length, .. } = self;
        let bytes = match segments.len() {
            0 => first,
            1 => segments.swap_remove(0).into(),
            _ => {
                let mut whole = Vec::with_capacity(length);
                // Each segment is freed as soon as it has been copied.
                for segment in segments {
                    whole.extend_from_slice(&segment);
                }
                whole.into()
            }
        };
        (bytes, memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a buffer that has received a text in chunks of `chunk` bytes.
    fn collect(text: &[u8], chunk: usize) -> BodyBuffer {
        let mut buffer = BodyBuffer::new(BodyMemory::new(None), usize::MAX);
        for chunk in text.chunks(chunk) {
            buffer.push(Bytes::copy_from_slice(chunk)).expect("memory is not bounded");
        }
        buffer
    }

    #[test]
    fn chunks_of_any_size_are_concatenated() {
        let text: Vec<u8> = (0..=250).cycle().take(300_000).collect();
        for size in [1, 5, 8_192, 65_536, 65_537, 300_000] {
            let buffer = collect(&text, size);
            assert_eq!(buffer.len(), text.len());
            assert_eq!(buffer.into_parts().0, text, "{size}");
        }
        assert!(collect(&[], 1).into_parts().0.is_empty());
    }

    #[test]
    fn memory_does_not_exceed_the_declared_length() {
        let mut buffer = BodyBuffer::new(BodyMemory::new(None), 30_000);
        for length in [29_999, 1] {
            buffer.push(vec![0; length].into()).expect("memory is not bounded");
        }
        assert_eq!(buffer.capacity, 30_000);
        assert_eq!(buffer.into_parts().0.len(), 30_000);
    }

    #[test]
    fn memory_grows_with_the_received_bytes() {
        for (length, chunk) in [(2, 1), (5_000, 10), (70_000, 8_192), (1_000_000, 8_192)] {
            let buffer = collect(&vec![0; length], chunk);
            let max = (2 * length).max(SEGMENT_BYTES_MIN).min(length + SEGMENT_BYTES_MAX);
            assert!(buffer.capacity <= max, "{} bytes for {length}", buffer.capacity);
        }
        let one = collect(&vec![0; 50_000], 50_000);
        assert_eq!(one.capacity, 0, "a body of one chunk is not copied");
    }
}
