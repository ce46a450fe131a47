//! Plays of videos and their counts.

mod count;
mod cursor;
mod play;

pub use count::{PlayCount, PublishedCount, VideoCount};
pub use cursor::PlayCursor;
pub use play::{Play, PlayId, PlayView, Plays, PlaysView, VideoId, fingerprint, split_plays};
