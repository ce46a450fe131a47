//! The words of Mayfly as types: what a message is, what may be said in one, how it is written down
//! on its way through the system. No I/O; nothing in here knows Redis, Postgres or HTTP.

pub mod batch;
pub mod clock;
pub mod consumption;
pub mod cursor;
pub mod document;
pub mod entry;
pub mod entry_id;
pub mod field;
pub mod frame;
pub mod host;
pub mod limits;
pub mod live_entry;
pub mod message;
pub mod message_id;
pub mod new_message;
pub mod play;
pub mod play_count;
pub mod position;
pub mod publication;
pub mod pulse;
pub mod rising;
pub mod sample;
pub mod snapshot;
pub mod visit;

pub use clock::{Clock, SystemClock, Timestamp};
pub use consumption::Consumption;
pub use cursor::{Cursor, Order};
pub use document::Document;
pub use entry_id::EntryId;
pub use field::{Channel, FieldError, FieldErrors, Place, Text, Ttl, Username};
pub use host::{Host, PagePath, PageTitle};
pub use live_entry::{ExpiredMessage, LiveEntry, LiveEvent};
pub use message::Message;
pub use message_id::{IdGenerator, MessageId};
pub use new_message::{NewMessage, Refusal};
pub use play::{Play, VideoId};
pub use play_count::{PlayCount, PlayCursor};
pub use position::Position;
pub use publication::Publication;
pub use pulse::Pulse;
pub use rising::{Increase, Rising, Sighting, Window};
pub use sample::{PageVisitors, Sample};
pub use snapshot::Snapshot;
pub use visit::{Mark, Visit, Visitor};
