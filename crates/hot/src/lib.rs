//! The hot store: live messages, queues, counters and feeds in Redis. Apart from tests, no other
//! crate uses the `redis` library.
//!
//! [`HotStore`] groups its operations by subject: for example, [`HotStore::queue`] returns the
//! operations on the queues. Changes that must be atomic are made by a single Lua script, and
//! concurrent writes share a round trip. [`Keys`] defines the names of all Redis keys, which share
//! one hash tag.

mod access;
mod connection;
mod feeds;
mod keys;
mod lease;
mod messages;
mod plays;
mod queue;
mod snapshots;
mod trends;
mod visits;
mod write;

pub use access::{
    AccessVersions, ApiKeyState, ApiKeys, AuthFailures, FailureWindow, MirrorReload,
    RevocableToken, RevocationState, TokenRevocations,
};
pub use connection::{HotError, HotStore, RedisComponents, metrics};
pub use feeds::{BoundedSink, EventSinks, MessageStream, Publications, StreamEntry, Subscription};
pub use keys::Keys;
pub use lease::{Lease, Role};
pub use messages::{
    Inbox, InboxPage, InboxSlot, InboxSlots, LiveMessage, MessageFinder, MessageWrite,
    MessageWriteRequest, MessageWriter, Messages, ReplayedTake, ReplayedWrite, RestoreProgress,
    TakeOutcome,
};
pub use plays::{
    CountsPage, CountsPublishOutcome, CountsRead, PlayFrameReader, PlayWriteRequest, PlayWriter,
    Plays, TickOutcome,
};
pub use queue::{
    Consumer, Delivery, Ledger, PendingEntry, Queue, QueueContents, QueueDepth, ReadBatch,
    ReconciledMessages, Stream, StreamLedger, TrimOutcome, WriterReport, Writers,
};
pub use snapshots::{FanoutReport, Fanouts, PublishOutcome, Snapshots, Totals, is_plausible_time};
pub use trends::{
    CallDecision, CallDenied, CallReason, Source, SourceCall, SourceFailure, SourceOutcome,
    SourceState, Trends, UnregisteredKey,
};
pub use visits::{VisitWriteRequest, VisitWriter, Visits};
pub use write::{
    Capacity, ClientLimit, ExhaustedClients, IdempotentRequest, Origin, RateLimitStatus,
    WriteOutcome,
};
