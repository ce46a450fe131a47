//! Statistics: the snapshot in S3, the pulse, and consumption times.

mod consumption;
mod pulse;
mod snapshot;

pub use consumption::{Bucket, Consumption, LastItem, bucket_for, round_to_tenth};
pub use pulse::{ConsumptionMs, Pulse, QueuePulse, Rates};
pub use snapshot::{
    CityCount, MessageCounts, PlayCounts, RunResult, Snapshot, TOP_CITIES_MAX, TOP_VIDEOS_MAX,
};
