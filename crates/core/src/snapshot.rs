//! The snapshot: the statistics of a minute, as they lie in S3 and go to live clients.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, frame::VideoCount};

/// The statistics of a minute. Its fields are in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Always `success`: a run that fails writes nothing.
    pub result: RunResult,
    /// When the numbers were read.
    pub generated_at: Timestamp,
    /// Distinct cities over all messages ever stored; the state is ignored, case and blanks matter.
    pub cities: u64,
    /// Distinct usernames over all messages ever stored; case and blanks matter.
    pub users: u64,
    /// How many messages there were.
    pub messages: MessageCounts,
    /// The cities with most messages, most first, at most [`TOP_CITIES_MAX`].
    pub top_cities: Vec<CityCount>,
    /// How often videos were played.
    pub plays: PlayCounts,
}

/// Cities in [`Snapshot::top_cities`].
pub const TOP_CITIES_MAX: u32 = 10;

/// Videos in [`PlayCounts::top`].
pub const TOP_VIDEOS_MAX: u32 = 10;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// All numbers are those of one instant.
    Success,
}

/// How many messages there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCounts {
    /// Ever stored; retention takes nothing away.
    pub total: u64,
    /// Accepted in the hour before.
    pub last_hour: u64,
    /// Accepted in the minute before.
    pub last_minute: u64,
}

/// How many messages came from a city.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CityCount {
    /// The city.
    pub city: String,
    /// Its state, if one was said.
    pub state: Option<String>,
    /// Messages ever stored.
    pub messages: u64,
}

/// How often videos were played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayCounts {
    /// All plays that were ever counted.
    pub total: u64,
    /// Videos that were ever played.
    pub videos: u64,
    /// The videos with most plays, most first, at most [`TOP_VIDEOS_MAX`].
    pub top: Vec<VideoCount>,
}
