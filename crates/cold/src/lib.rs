//! The cold store: every accepted message, play and sample, in Postgres. The only crate that
//! depends on diesel.
//!
//! Every call has a deadline. A call that misses it fails and discards its connection, so that a
//! hung Postgres never blocks a caller for longer.

mod api_keys;
mod dead_letters;
mod hosts;
mod ledger;
mod messages;
pub mod migrations;
mod outcome;
mod plays;
mod samples;
mod statistics;
mod store;

pub use api_keys::{ApiKeys, NewApiKey, Revocation, StoredApiKey};
pub use dead_letters::{DeadLetter, DeadLetters};
pub use hosts::Hosts;
pub use ledger::{EpochReport, EpochState, Ledger, LedgerRow, Loss};
pub use messages::{
    Expiry, LivePage, MessageBatch, Messages, NewMessageRow, Page, PageRequest, StoreOutcome,
    StoredMessage,
};
pub use outcome::EntryOutcome;
pub use plays::{CountedPlays, NewPlays, PlayCounts, Plays, PlaysBatch};
pub use samples::Samples;
pub use statistics::Statistics;
pub use store::{ColdAccess, ColdError, ColdStore, ConnectError, metrics};
