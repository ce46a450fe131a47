//! The hot store: what is live, and the queue, in Redis. The only crate that names redis.
//!
//! What must happen together happens in one script, and requests that arrive together share one
//! round trip ([`lane`]). All keys stand in [`keys`] and share one hash tag.

mod accept;
mod api_keys;
mod client;
mod consumer;
mod consumption;
mod delivery;
mod depth;
mod error;
mod expire;
mod inbox;
mod keys;
mod lane;
mod lease;
mod ledger;
mod live;
mod messages;
mod once;
mod play_counts;
mod play_frames;
mod plays;
mod pool;
mod pulse;
mod queue;
mod restore;
mod rising;
mod source;
mod source_calls;
mod state;
mod stats;
mod stream;
mod subscription;
mod upkeep;
mod visitors;
mod visits;
mod watch;

pub use accept::{Acceptance, Acceptor, Before, NewCopy, Write};
pub use api_keys::{ApiKeyState, ApiKeysTurn};
pub use client::{Allowance, Limit};
pub use consumer::Consumer;
pub use delivery::{Delivery, Popped};
pub use error::HotError;
pub use expire::{Origin, TakenBefore};
pub use inbox::{Inbox, Take};
pub use keys::Keys;
pub use lease::{Lease, Turn};
pub use ledger::{Ledger, Pending, QueueState};
pub use live::LiveRow;
pub use messages::Finder;
pub use once::Once;
pub use play_counts::{Counts, CountsPage};
pub use play_frames::{CountsPublished, PlayFrames};
pub use plays::{PlaysAcceptance, PlaysAcceptor, PlaysWrite};
pub use pool::Hot;
pub use pulse::{FanoutReport, Totals};
pub use restore::{LiveMessage, Restored};
pub use rising::SightingPublished;
pub use source::{SourceFailure, SourceState};
pub use source_calls::{Asker, NoCall, SourceCall, SourceOutcome, Taken, UnrelatedKey};
pub use state::StateFeed;
pub use stats::StatsPublished;
pub use stream::Stream;
pub use subscription::{Entrance, Listeners, Publications, Subscription};
pub use visits::{VisitsAcceptance, VisitsAcceptor, VisitsWrite};
