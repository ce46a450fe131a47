//! The rights in Postgres that each service needs.

/// The access to Postgres that a service needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColdAccess {
    /// Reads messages, play counts and samples.
    Read,
    /// Stores messages, counts plays and deletes old samples.
    Store,
    /// Reads totals, and stores samples, published counts and API keys.
    Publish,
    /// Changes the schema.
    Migrate,
}

/// The rights that persist-worker needs. TRUNCATE removes expired play IDs. UPDATE on
/// `page_samples` and `page_hours` allows the worker to lock the rows that it deletes.
const STORE_RIGHTS: &[(&str, &[&str])] = &[
    ("messages", &["SELECT", "INSERT", "UPDATE"]),
    ("message_sequence", &["SELECT", "UPDATE"]),
    ("early_expiries", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("ledger", &["SELECT", "INSERT", "UPDATE"]),
    ("ledger_reports", &["SELECT", "INSERT", "UPDATE"]),
    ("dead_letters", &["SELECT", "INSERT"]),
    ("dead_letter_totals", &["SELECT", "UPDATE"]),
    ("message_totals", &["SELECT", "UPDATE"]),
    ("message_seconds", &["SELECT", "INSERT", "UPDATE"]),
    ("usernames", &["SELECT", "INSERT"]),
    ("cities", &["SELECT", "INSERT"]),
    ("city_counts", &["SELECT", "INSERT", "UPDATE"]),
    ("top_cities", &["SELECT", "UPDATE"]),
    ("play_counts", &["SELECT", "INSERT", "UPDATE"]),
    ("play_totals", &["SELECT", "UPDATE"]),
    ("top_videos", &["SELECT", "UPDATE"]),
    ("counted_entries", &["SELECT", "INSERT", "DELETE"]),
    ("counted_marks", &["SELECT", "INSERT", "UPDATE"]),
    ("known_plays", &["SELECT", "INSERT", "UPDATE"]),
    ("known_plays_0", &["SELECT", "TRUNCATE"]),
    ("known_plays_1", &["SELECT", "TRUNCATE"]),
    ("known_plays_2", &["SELECT", "TRUNCATE"]),
    ("known_plays_3", &["SELECT", "TRUNCATE"]),
    ("published_counts", &["SELECT"]),
    ("hosts", &["SELECT"]),
    ("api_keys", &["SELECT"]),
    ("api_key_hosts", &["SELECT"]),
    ("api_keys_version", &["SELECT"]),
    ("token_revocations", &["SELECT"]),
    ("token_revocations_version", &["SELECT"]),
    ("page_samples", &["SELECT", "UPDATE", "DELETE"]),
    ("page_hours", &["SELECT", "UPDATE", "DELETE"]),
];

const READ_RIGHTS: &[(&str, &[&str])] = &[
    ("messages", &["SELECT"]),
    ("dead_letters", &["SELECT"]),
    ("early_expiries", &["SELECT"]),
    ("play_counts", &["SELECT"]),
    ("hosts", &["SELECT"]),
    ("page_samples", &["SELECT"]),
    ("page_hours", &["SELECT"]),
];

const PUBLISH_RIGHTS: &[(&str, &[&str])] = &[
    ("message_totals", &["SELECT"]),
    ("message_seconds", &["SELECT"]),
    ("statistics_fill", &["SELECT"]),
    ("dead_letter_totals", &["SELECT"]),
    ("top_cities", &["SELECT"]),
    ("play_totals", &["SELECT"]),
    ("top_videos", &["SELECT"]),
    ("published_counts", &["SELECT", "INSERT", "UPDATE"]),
    ("hosts", &["SELECT", "INSERT", "UPDATE"]),
    ("page_samples", &["SELECT", "INSERT", "UPDATE"]),
    ("page_hours", &["SELECT", "INSERT", "UPDATE"]),
    ("api_keys", &["SELECT", "INSERT"]),
    ("api_key_hosts", &["SELECT", "INSERT"]),
    ("api_keys_version", &["SELECT", "UPDATE"]),
];

impl ColdAccess {
    pub(super) fn is_writing(self) -> bool {
        self != Self::Read
    }

    /// Returns the required rights per table.
    pub(super) fn rights(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Self::Read => READ_RIGHTS,
            Self::Store => STORE_RIGHTS,
            Self::Publish => PUBLISH_RIGHTS,
            Self::Migrate => &[],
        }
    }
}
