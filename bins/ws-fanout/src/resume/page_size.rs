//! The size of the pages that a replay reads from the stream.

use crate::worker::REPLAY_PAGE_BYTES;

/// Number of entries in the first page. If all these entries have the maximum size, they occupy
/// twice [`REPLAY_PAGE_BYTES`].
const ENTRIES_INITIAL: usize = 8;
/// Maximum number of entries in a page.
const ENTRIES_MAX: usize = 64;
/// Maximum size of a message, in bytes. Entries for takes and deletions can be larger, but are
/// rare.
const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// The number of entries per page, adapted to the size of the entries, because Redis cannot limit a
/// read by size.
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

    /// Returns the size of a page in bytes if all its entries have the maximum size.
    pub(super) fn bytes_max(self) -> usize {
        self.entries * ENTRY_BYTES_MAX
    }

    /// Adapts the number of entries so that the next page has about [`REPLAY_PAGE_BYTES`], based on
    /// the numbers of entries and bytes in the last page. The number at most doubles.
    pub(super) fn adapt(&mut self, entries: usize, bytes: usize) {
        let fitting = entries * REPLAY_PAGE_BYTES / bytes.max(1);
        self.entries = fitting.clamp(1, self.entries * 2).min(ENTRIES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_with_small_entries_and_shrink_with_large_entries() {
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
