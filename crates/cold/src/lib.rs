//! The cold store: everything that was ever accepted, in Postgres. The only crate that names diesel.
//!
//! Calls take nouns and give nouns; each has a deadline, after which its connection is given up, so
//! that a Postgres that hangs costs a caller the deadline and nothing else.

mod api_keys;
mod dead_letters;
mod error;
mod hosts;
mod ledger;
mod messages;
pub mod migrations;
mod places;
mod play_counts;
mod plays;
mod pool;
mod samples;
mod schema;
mod statistics;
mod store;
mod watch;

pub use api_keys::{ApiKeyRow, NewApiKey, Revocation};
pub use dead_letters::DeadLetter;
pub use error::ColdError;
pub use ledger::LedgerRow;
pub use messages::{Page, PageRequest, StoredMessage};
pub use plays::{CountedPlays, NewPlays, PlaysBatch};
pub use pool::Cold;
pub use samples::HourRow;
pub use store::{Batch, Expiry, NewRow, Stored, Tried};
