//! The bounded queue of frames that wait to be written to one connection.

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

/// Chunks per vectored write; the kernel accepts up to 1,024.
pub(super) const SLICES_MAX: usize = 64;
/// Chunk capacity that an idle connection retains.
const IDLE_CHUNKS_MAX: usize = 4;

/// Chunks in the order in which they are written. Chunks are shared between connections.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    chunks: VecDeque<Chunk>,
    /// Queued bytes.
    bytes: usize,
    /// Queued frames. The frames of a chunk count until the whole chunk is written.
    frames: usize,
    /// Bytes of the first chunk that are already written.
    written: usize,
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    frames: usize,
}

impl SendQueue {
    pub(crate) fn push(&mut self, bytes: Bytes, frames: usize) {
        self.bytes += bytes.len();
        self.frames += frames;
        self.chunks.push_back(Chunk { bytes, frames });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Returns the number of queued bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of queued frames.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// Fills `slices` with the next chunks and returns their number.
    pub(crate) fn fill_slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            let from = if count == 0 { self.written } else { 0 };
            *slice = IoSlice::new(&chunk.bytes[from..]);
            count += 1;
        }
        count
    }

    /// Removes `bytes` written bytes from the front.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        while let Some(first) = self.chunks.front() {
            let left = first.bytes.len() - self.written;
            if bytes < left {
                self.written += bytes;
                return;
            }
            bytes -= left;
            self.written = 0;
            self.frames -= first.frames;
            self.chunks.pop_front();
        }
        if self.chunks.capacity() > IDLE_CHUNKS_MAX {
            self.chunks.shrink_to(IDLE_CHUNKS_MAX);
        }
    }

    /// Removes and returns the unwritten part of the first chunk.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.bytes.len() - self.written;
        self.frames -= chunk.frames;
        let bytes = chunk.bytes.slice(std::mem::take(&mut self.written)..);
        Some(bytes)
    }

    /// Discards all chunks except a partially written one, and returns the number of discarded
    /// frames.
    pub(crate) fn discard(&mut self) -> usize {
        let retained = usize::from(self.written > 0);
        let dropped = self.chunks.iter().skip(retained).map(|chunk| chunk.frames).sum();
        self.chunks.truncate(retained);
        self.chunks.shrink_to_fit();
        self.bytes = self.chunks.front().map_or(0, |chunk| chunk.bytes.len() - self.written);
        self.frames -= dropped;
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(queue: &SendQueue) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = queue.fill_slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    fn filled_queue() -> SendQueue {
        let mut queue = SendQueue::default();
        queue.push(Bytes::from_static(b"abc"), 1);
        queue.push(Bytes::from_static(b"de"), 2);
        queue.push(Bytes::from_static(b"f"), 3);
        queue
    }

    #[test]
    fn written_bytes_leave_the_queue() {
        let mut queue = filled_queue();
        for (bytes, left, frames) in [(1, "bcdef", 6), (3, "ef", 5), (1, "f", 3), (1, "", 0)] {
            queue.advance(bytes);
            assert_eq!(queued(&queue), left.as_bytes());
            assert_eq!((queue.bytes(), queue.frames()), (left.len(), frames));
        }
        assert!(queue.is_empty());
    }

    #[test]
    fn partially_written_chunk_is_not_discarded() {
        let mut queue = filled_queue();
        assert_eq!(queue.discard(), 6);
        assert!(queue.is_empty() && queue.bytes() == 0 && queue.frames() == 0);
        let mut queue = filled_queue();
        queue.advance(1);
        assert_eq!(queue.discard(), 5);
        assert_eq!((queued(&queue), queue.frames()), (b"bc".to_vec(), 1));
        assert_eq!(queue.pop().as_deref(), Some(&b"bc"[..]));
        assert_eq!((queue.pop(), queue.bytes()), (None, 0));
    }
}
