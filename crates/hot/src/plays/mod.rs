//! Plays of videos: accepts plays, mirrors their counts, and publishes the counts in frames.

mod accept;
mod counts;
mod frames;
mod mirror;
mod publish;

pub use self::{
    accept::{PlayWriteRequest, PlayWriter},
    counts::{CountsPage, CountsRead},
    frames::PlayFrameReader,
    publish::{CountsPublishOutcome, TickOutcome},
};

use crate::connection::HotStore;

/// The maximum number of videos in one script call or command.
const VIDEOS_PER_CALL: usize = 1_000;

/// Operations on play counts.
#[derive(Clone, Copy)]
pub struct Plays<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on play counts.
    #[must_use]
    pub fn plays(&self) -> Plays<'_> {
        Plays { store: self }
    }
}
