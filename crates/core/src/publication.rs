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
