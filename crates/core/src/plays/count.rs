//! Play counts.

use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use super::VideoId;
use crate::clock::Timestamp;

/// The number of plays of a video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VideoCount {
    /// The ID of the video.
    #[cfg_attr(feature = "openapi", schema(value_type = VideoId))]
    pub video_id: String,
    /// The number of plays.
    pub count: u64,
}

/// The number of plays of a video, with the time of its last change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlayCount {
    /// The ID of the video.
    #[cfg_attr(feature = "openapi", schema(value_type = VideoId))]
    pub video_id: String,
    /// The number of plays.
    pub count: u64,
    /// The time when the count last changed.
    pub updated_at: Timestamp,
}

/// A count and its last published value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedCount {
    /// The count.
    pub count: PlayCount,
    /// The last published value; 0 if none is recorded.
    pub published: u64,
}
