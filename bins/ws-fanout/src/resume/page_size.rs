//! The number of entries per read of the stream.

use crate::worker::REPLAY_PAGE_BYTES;

/// Entries of the first read: with messages of maximum size, twice the size of a page.
const ENTRIES_INITIAL: usize = 8;
/// Entries of the longest read.
const ENTRIES_MAX: usize = 64;
/// Maximum size of a message; expiries can be larger and are rare.
const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// The number of entries per read, adapted to the size of the entries: Redis cannot limit a read by
/// bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageSize {
    entries: usize,
}

impl Default for PageSize {
    fn default() -> Self {
        Self { entries: ENTRIES_INITIAL }
    }
}

impl PageSize {
    pub(super) fn entries(self) -> usize {
        self.entries
    }

    /// Returns the size of a page with entries of maximum size.
    pub(super) fn bytes_max(self) -> usize {
        self.entries * ENTRY_BYTES_MAX
    }

    /// Sets the number of entries to that of a full page, judged by a page with this many entries
    /// and bytes. It at most doubles.
    pub(super) fn adapt(&mut self, entries: usize, bytes: usize) {
        let fitting = entries * REPLAY_PAGE_BYTES / bytes.max(1);
        self.entries = fitting.clamp(1, self.entries * 2).min(ENTRIES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_small_entries_grow_and_those_of_large_entries_shrink() {
        let mut page = PageSize::default();
        let mut read = |entry_bytes| {
            let entries = page.entries();
            page.adapt(entries, entries * entry_bytes);
            page.entries()
        };
        assert_eq!([200, 200, 200, 200].map(&mut read), [16, 32, 64, 64]);
        assert_eq!([64 * 1024, 64 * 1024].map(&mut read), [4, 4]);
        assert_eq!(read(8 * REPLAY_PAGE_BYTES), 1);
        assert_eq!([0, 0].map(&mut read), [2, 4]);
    }
}
