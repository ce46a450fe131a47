//! The outcome of processing an entry individually.

/// The outcome of processing an entry individually, after Postgres rejected its batch.
#[derive(Debug, Clone)]
pub enum EntryOutcome<T> {
    /// Postgres stored the entry.
    Stored(T),
    /// Postgres rejected this particular entry, for the given reason.
    Rejected(String),
}
