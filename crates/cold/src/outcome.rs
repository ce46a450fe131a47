//! The outcome of an entry that is processed individually.

/// The outcome of an entry that is processed individually, after its batch was rejected.
#[derive(Debug, Clone)]
pub enum EntryOutcome<T> {
    /// The entry is stored.
    Stored(T),
    /// Postgres rejects this particular entry, for the given reason.
    Rejected(String),
}
