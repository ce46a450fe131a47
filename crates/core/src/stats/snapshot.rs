//! The statistics document, stored in S3 and sent to live clients.

use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use crate::message::Place;
use crate::{clock::Timestamp, plays::VideoCount};

/// The statistics snapshot, as stored in S3.
// Fields are serialized in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// Always `success`, because a failed run writes nothing.
    pub result: RunResult,
    /// The time when the statistics were read.
    pub generated_at: Timestamp,
    /// The number of distinct cities in all messages ever stored. The state is ignored; case and
    /// whitespace are significant.
    pub cities: u64,
    /// The number of distinct usernames in all messages ever stored; case and whitespace are
    /// significant.
    pub users: u64,
    /// Message counts.
    pub messages: MessageCounts,
    /// The cities with the most messages, in descending order of message count.
    #[cfg_attr(feature = "openapi", schema(max_items = 10))]
    pub top_cities: Vec<CityCount>,
    /// Play counts.
    pub plays: PlayCounts,
}

/// The maximum length of [`Snapshot::top_cities`].
pub const TOP_CITIES_MAX: u32 = 10;

/// The maximum length of [`PlayCounts::top`].
pub const TOP_VIDEOS_MAX: u32 = 10;

/// The result of a publisher run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// The statistics are consistent: all of them were read at the same instant.
    Success,
}

/// Message counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageCounts {
    /// Messages ever stored, including messages deleted by retention.
    pub total: u64,
    /// Stored messages that were accepted in the last hour.
    pub last_hour: u64,
    /// Stored messages that were accepted in the last minute.
    pub last_minute: u64,
}

/// The number of messages from a city.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CityCount {
    /// The city.
    #[cfg_attr(feature = "openapi", schema(value_type = Place))]
    pub city: String,
    /// The state of the city, if known.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Place>, required))]
    pub state: Option<String>,
    /// Messages ever stored from this city.
    pub messages: u64,
}

/// Play counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlayCounts {
    /// Plays ever counted.
    pub total: u64,
    /// Videos with at least one play.
    pub videos: u64,
    /// The videos with the most plays, in descending order of play count.
    #[cfg_attr(feature = "openapi", schema(max_items = 10))]
    pub top: Vec<VideoCount>,
}
