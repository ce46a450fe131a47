//! The Redis streams: entries, their wire formats, and the positions of subscribers.

mod entry;
mod entry_id;
mod live_entry;
mod position;
mod publication;

pub use entry::{CHANNELS, EXPIRE_V1, Entry, MESSAGE_V1, META, Meta, PLAYS_V1, UnreadableEntry};
pub use entry_id::{EntryId, InvalidEntryId};
pub use live_entry::{ExpiredMessage, LiveEntry, LiveEvent};
pub use position::{InvalidPosition, POSITION_CHARS_MAX, Position};
pub use publication::{MalformedPublication, Publication};
