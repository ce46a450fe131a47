//! Mayfly's domain types: messages, plays, page trends, statistics, and their wire formats.
//! This crate performs no I/O and does not depend on Redis, Postgres or HTTP.

pub mod clock;
pub mod credentials;
pub mod frame;
pub mod input;
pub mod limits;
pub mod message;
pub mod plays;
#[cfg(feature = "openapi")]
mod schema;
pub mod stats;
mod store_error;
pub mod stream;
pub mod trends;

pub use clock::{Clock, SynchronizedClock, SystemClock, Timestamp};
pub use credentials::{KeyHash, TokenRevocation};
pub use frame::{Feed, StateFeed};
pub use input::{FieldError, FieldErrors, InputError};
pub use message::{
    Channel, Cursor, Document, IdGenerator, Message, MessageId, NewMessage, Order, Place, Text,
    Ttl, Username,
};
pub use plays::{Play, PlayCount, PlayCursor, PublishedCount, VideoCount, VideoId};
pub use stats::{Consumption, Pulse, Snapshot};
pub use store_error::{StoreError, StoreErrorKind};
pub use stream::{EntryId, ExpiredMessage, LiveEntry, LiveEvent, Position, Publication};
pub use trends::{
    History, Host, HourTotals, Increase, PagePath, PageTitle, PageTrend, PageVisitors, Sample,
    ShortHash, TrendRanking, TrendSnapshot, Visit, Visitor, Window,
};
