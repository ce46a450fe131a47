//! What waits to be written to one connection.

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

/// Pieces of one write; the kernel takes up to 1,024.
pub(crate) const SLICES_MAX: usize = 64;
/// Room for pieces that an idle connection keeps.
const IDLE_CHUNKS_MAX: usize = 4;

/// Bytes in the order in which they are to be written. Pieces are shared with other connections.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    chunks: VecDeque<Chunk>,
    /// Bytes that wait.
    bytes: usize,
    /// Frames that wait; those of a piece count until all of it is written.
    frames: usize,
    /// How much of the first piece is written.
    written: usize,
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    frames: usize,
}

impl Outbound {
    /// Adds a piece.
    pub(crate) fn push(&mut self, bytes: Bytes, frames: usize) {
        self.bytes += bytes.len();
        self.frames += frames;
        self.chunks.push_back(Chunk { bytes, frames });
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames that wait.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// Fills in what can be written at once; gives how many pieces that are.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            let from = if count == 0 { self.written } else { 0 };
            *slice = IoSlice::new(&chunk.bytes[from..]);
            count += 1;
        }
        count
    }

    /// Notes that so many bytes were written.
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

    /// Takes the next piece out whole.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.bytes.len() - self.written;
        self.frames -= chunk.frames;
        let bytes = chunk.bytes.slice(std::mem::take(&mut self.written)..);
        Some(bytes)
    }

    /// Lets go of everything that is not begun; gives how many frames that were.
    pub(crate) fn discard(&mut self) -> usize {
        let kept = usize::from(self.written > 0);
        let dropped = self.chunks.iter().skip(kept).map(|chunk| chunk.frames).sum();
        self.chunks.truncate(kept);
        self.chunks.shrink_to_fit();
        self.bytes = self.chunks.front().map_or(0, |chunk| chunk.bytes.len() - self.written);
        self.frames -= dropped;
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(outbound: &Outbound) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = outbound.slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    fn filled() -> Outbound {
        let mut outbound = Outbound::default();
        outbound.push(Bytes::from_static(b"abc"), 1);
        outbound.push(Bytes::from_static(b"de"), 2);
        outbound.push(Bytes::from_static(b"f"), 3);
        outbound
    }

    #[test]
    fn what_is_written_waits_no_more() {
        let mut outbound = filled();
        for (bytes, left, frames) in [(1, "bcdef", 6), (3, "ef", 5), (1, "f", 3), (1, "", 0)] {
            outbound.advance(bytes);
            assert_eq!(waiting(&outbound), left.as_bytes());
            assert_eq!((outbound.bytes(), outbound.frames()), (left.len(), frames));
        }
        assert!(outbound.is_empty());
    }

    #[test]
    fn a_frame_that_is_begun_is_not_let_go_of() {
        let mut outbound = filled();
        assert_eq!(outbound.discard(), 6);
        assert!(outbound.is_empty() && outbound.bytes() == 0 && outbound.frames() == 0);
        let mut outbound = filled();
        outbound.advance(1);
        assert_eq!(outbound.discard(), 5);
        assert_eq!((waiting(&outbound), outbound.frames()), (b"bc".to_vec(), 1));
        assert_eq!(outbound.pop().as_deref(), Some(&b"bc"[..]));
        assert_eq!((outbound.pop(), outbound.bytes()), (None, 0));
    }
}
