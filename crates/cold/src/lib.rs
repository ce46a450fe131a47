//! The cold store: messages, plays, visitor samples, statistics, API keys, token revocations, dead
//! letters and the ledger in Postgres. This is the only crate that depends on diesel.
//!
//! Every query of a [`ColdStore`] has a deadline. A query that misses its deadline fails and
//! discards its connection, so an unresponsive server never blocks a caller beyond the deadline.

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
mod token_revocations;

pub use api_keys::{
    ApiKeyLookup, ApiKeys, NewApiKey, NewSecret, PreviousSecret, Rotation, StoredApiKey,
};
pub use dead_letters::{DeadLetter, DeadLetters};
pub use hosts::Hosts;
pub use ledger::{EpochReport, EpochState, Ledger, LedgerRow, Loss};
pub use messages::{
    Expiry, LivePage, MessageBatch, Messages, NewMessageRow, Page, PageRequest, ReadRights,
    ReadableNames, StoreOutcome, StoredMessage,
};
pub use outcome::EntryOutcome;
pub use plays::{CountedPlays, NewPlays, PlayCounts, Plays, PlaysBatch};
pub use samples::Samples;
pub use statistics::Statistics;
pub use store::{ColdAccess, ColdError, ColdStore, ConnectError, metrics};
pub use token_revocations::{RevokedTokens, StoredTokenRevocation, TokenRevocations};
