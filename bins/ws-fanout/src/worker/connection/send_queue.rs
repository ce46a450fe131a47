//! The queue of frames that are waiting to be written to one connection.

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

use crate::hub::{ConnectionMemory, Reservation};

/// Maximum number of chunks per vectored write. Linux accepts up to 1,024.
pub(super) const SLICES_MAX: usize = 64;
/// Maximum capacity of the chunk list that an idle connection retains.
const IDLE_CHUNKS_MAX: usize = 4;
/// The server reads no more client frames while at least this many replies are queued.
const REPLIES_MAX: usize = 32;
/// The server reads no more client frames while at least this many bytes of replies are queued.
const REPLY_BYTES_MAX: usize = 16 * 1024;

/// A queue of chunks, in the order in which they are written. Connections can share the bytes of a
/// chunk.
pub(crate) struct SendQueue {
    chunks: VecDeque<Chunk>,
    /// Number of queued bytes.
    bytes: usize,
    /// Number of queued frames. The frames in a chunk count until the whole chunk is written.
    frames: usize,
    /// Number of bytes of the first chunk that have been written.
    written: usize,
    /// Number of queued replies to client frames.
    replies: usize,
    /// Total size of the queued replies, in bytes.
    reply_bytes: usize,
    /// The memory of the chunk list, excluding the bytes of the chunks.
    entries: Reservation,
}

struct Chunk {
    bytes: Bytes,
    frames: u32,
    is_reply: bool,
}

impl SendQueue {
    pub(crate) fn new(memory: &ConnectionMemory) -> Self {
        Self {
            chunks: VecDeque::new(),
            bytes: 0,
            frames: 0,
            written: 0,
            replies: 0,
            reply_bytes: 0,
            entries: memory.reserve(),
        }
    }

    pub(crate) fn push(&mut self, bytes: Bytes, frames: usize) {
        self.bytes += bytes.len();
        self.frames += frames;
        // A chunk has far fewer than 2^32 frames, so the number fits.
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        self.chunks.push_back(Chunk { bytes, frames, is_reply: false });
    }

    /// Appends a reply to a client frame.
    pub(crate) fn push_reply(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.frames += 1;
        self.replies += 1;
        self.reply_bytes += bytes.len();
        self.chunks.push_back(Chunk { bytes, frames: 1, is_reply: true });
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

    /// Returns whether the queued replies have reached a limit. If so, the server must read no more
    /// client frames.
    pub(crate) fn has_many_replies(&self) -> bool {
        self.replies >= REPLIES_MAX || self.reply_bytes >= REPLY_BYTES_MAX
    }

    /// Returns the memory of the chunk list when it was last counted, in bytes.
    pub(crate) fn entries_bytes(&self) -> usize {
        self.entries.bytes()
    }

    /// Updates the counted memory of the chunk list. A short list does not count.
    pub(crate) fn count_entries(&mut self) {
        let capacity = self.chunks.capacity();
        let counted = if capacity > IDLE_CHUNKS_MAX { capacity } else { 0 };
        self.entries.set(counted * size_of::<Chunk>());
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

    /// Removes written bytes from the front of the queue.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        while let Some(first) = self.chunks.front() {
            let left = first.bytes.len() - self.written;
            if bytes < left {
                self.written += bytes;
                return;
            }
            bytes -= left;
            self.remove_first();
        }
        self.release_entries();
    }

    /// Removes and returns at most `bytes_max` unwritten bytes of the first chunk.
    pub(crate) fn pop(&mut self, bytes_max: usize) -> Option<Bytes> {
        let chunk = self.chunks.front()?;
        let end = chunk.bytes.len().min(self.written + bytes_max);
        let bytes = chunk.bytes.slice(self.written..end);
        self.bytes -= bytes.len();
        self.written = end;
        if end == chunk.bytes.len() {
            self.remove_first();
        }
        if self.chunks.is_empty() {
            self.release_entries();
        }
        Some(bytes)
    }

    /// Discards everything except the rest of a partially written frame. Copies the rest, so that
    /// its chunk can be freed. Returns the number of discarded frames.
    ///
    /// `find_frame` receives a chunk and an offset. It returns the end of the frame that contains
    /// the offset, and the number of frames before that frame. If a frame begins at the offset,
    /// `find_frame` returns the offset as the end.
    pub(crate) fn discard(
        &mut self,
        find_frame: impl FnOnce(&[u8], usize) -> (usize, u32),
    ) -> usize {
        let dropped = self.frames;
        let partial = self.chunks.pop_front().filter(|_| self.written > 0);
        self.chunks = VecDeque::new();
        let written = std::mem::take(&mut self.written);
        (self.bytes, self.frames, self.replies, self.reply_bytes) = (0, 0, 0, 0);
        self.count_entries();
        let Some(chunk) = partial else { return dropped };
        let (end, before) = find_frame(&chunk.bytes, written);
        if end <= written {
            return dropped - (before.min(chunk.frames) as usize);
        }
        let retained = chunk.frames.min(before + 1) as usize;
        let rest = self.entries.memory().share(chunk.bytes[written..end].to_vec());
        self.push(rest, 0);
        dropped - retained
    }

    fn remove_first(&mut self) {
        let Some(first) = self.chunks.pop_front() else { return };
        self.written = 0;
        self.frames -= first.frames as usize;
        if first.is_reply {
            self.replies -= 1;
            self.reply_bytes -= first.bytes.len();
        }
    }

    /// Releases the memory of an empty chunk list that exceeds the idle capacity.
    fn release_entries(&mut self) {
        if self.chunks.capacity() > IDLE_CHUNKS_MAX {
            self.chunks.shrink_to(IDLE_CHUNKS_MAX);
            self.count_entries();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled_queue() -> SendQueue {
        let mut queue = SendQueue::new(&ConnectionMemory::new(0));
        queue.push(Bytes::from_static(b"abc"), 1);
        queue.push(Bytes::from_static(b"de"), 2);
        queue.push(Bytes::from_static(b"f"), 3);
        queue
    }

    fn queued(queue: &SendQueue) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = queue.fill_slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn written_bytes_are_removed() {
        let mut queue = filled_queue();
        for (bytes, left, frames) in [(1, "bcdef", 6), (3, "ef", 5), (1, "f", 3), (1, "", 0)] {
            queue.advance(bytes);
            assert_eq!(queued(&queue), left.as_bytes());
            assert_eq!((queue.bytes(), queue.frames()), (left.len(), frames));
        }
        assert!(queue.is_empty());
    }

    #[test]
    fn chunk_is_popped_in_parts() {
        let mut queue = filled_queue();
        for (part, left, frames) in [("ab", 4, 6), ("c", 3, 5), ("de", 1, 3), ("f", 0, 0)] {
            assert_eq!(queue.pop(2).as_deref(), Some(part.as_bytes()));
            assert_eq!((queue.bytes(), queue.frames()), (left, frames));
        }
        assert_eq!(queue.pop(2), None);
    }

    #[test]
    fn everything_but_the_rest_of_a_partially_written_frame_is_discarded() {
        let none = |_: &[u8], _| unreachable!("no frame is partially written");
        let mut queue = filled_queue();
        assert_eq!(queue.discard(none), 6);
        assert!(queue.is_empty() && queue.bytes() == 0 && queue.frames() == 0);

        // The chunk "de" has two frames, and the second frame begins at "e".
        let mut queue = filled_queue();
        queue.advance(4);
        assert_eq!(queue.discard(|chunk, at| (at, u32::from(chunk == b"de"))), 4);
        assert!(queue.is_empty());

        // The first two frames of the chunk are "a" and "bc", and "bc" is partially written.
        let mut queue = SendQueue::new(&ConnectionMemory::new(0));
        queue.push(Bytes::from_static(b"abcdef"), 4);
        queue.push(Bytes::from_static(b"g"), 1);
        queue.advance(2);
        assert_eq!(queue.discard(|_, _| (3, 1)), 3);
        assert_eq!((queued(&queue), queue.bytes(), queue.frames()), (b"c".to_vec(), 1, 0));
    }

    #[test]
    fn queued_replies_are_limited_by_number_and_size() {
        let memory = ConnectionMemory::new(0);
        let mut queue = SendQueue::new(&memory);
        for _ in 0..REPLIES_MAX {
            assert!(!queue.has_many_replies());
            queue.push_reply(Bytes::from_static(b"x"));
        }
        assert!(queue.has_many_replies());
        queue.advance(1);
        assert!(!queue.has_many_replies());
        queue.push_reply(vec![0; REPLY_BYTES_MAX].into());
        assert!(queue.has_many_replies());
        queue.advance(queue.bytes());
        queue.push(vec![0; REPLY_BYTES_MAX].into(), 1);
        assert!(!queue.has_many_replies(), "a message is not a reply");
    }

    #[test]
    fn memory_of_many_chunks_is_counted() {
        let memory = ConnectionMemory::new(0);
        let mut queue = SendQueue::new(&memory);
        queue.push(Bytes::from_static(b"x"), 1);
        queue.count_entries();
        assert_eq!(memory.bytes(), 0, "an idle connection has a short list");
        (0..1_000).for_each(|_| queue.push(Bytes::from_static(b"x"), 1));
        queue.count_entries();
        assert!(memory.bytes() >= 1_001 * size_of::<Chunk>());
        queue.advance(queue.bytes());
        assert_eq!(memory.bytes(), 0);
    }
}
