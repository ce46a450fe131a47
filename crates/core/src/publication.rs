//! What is published on the feed `messages` for the live side, in one publication per atomic step.
//!
//! ```text
//! v1 <epoch> <entry before the first>
//! <entry> message <channel> <json>
//! <entry> expire <id> <id> …
//! ```
//!
//! Lines end with `\n`; the JSON of a message is one line. The entry before the first lets a
//! subscriber see that it missed something: that is what it then reads from the stream.

/// The first word of a publication in this form.
pub const VERSION: &str = "v1";
/// The second word of a line that brings a message.
pub const MESSAGE: &str = "message";
/// The second word of a line that says what was taken or deleted.
pub const EXPIRE: &str = "expire";
