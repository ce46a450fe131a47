//! The hot store: what is live, and the queue, in Redis. The only crate that names redis.
//!
//! What must happen together happens in one script, and requests that arrive together share one
//! round trip ([`lane`]). All keys stand in [`keys`] and share one hash tag.

mod accept;
mod consumer;
mod delivery;
mod depth;
mod error;
mod expire;
mod inbox;
mod keys;
mod lane;
mod ledger;
mod live;
mod messages;
mod pool;
mod queue;
mod restore;
mod subscription;
mod upkeep;
mod watch;

pub use accept::{Acceptance, Acceptor, NewCopy};
pub use consumer::Consumer;
pub use delivery::{Delivery, Popped};
pub use error::HotError;
pub use expire::{Expired, Origin};
pub use inbox::Inbox;
pub use keys::Keys;
pub use ledger::{Ledger, QueueState};
pub use live::LiveRow;
pub use messages::Finder;
pub use pool::Hot;
pub use queue::GROUP;
pub use restore::{LiveMessage, Restored};
pub use subscription::Subscription;
