//! The feed `plays`: reads each frame of play counts once from a short Redis stream.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mayfly_core::plays::VideoCount;
use mayfly_hot::HotStore;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::{frames::PlayFrames, hub::Hub, worker_event::WorkerEvent};

/// Timeout of one blocking read.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Reads play count frames and broadcasts them. Runs until it is aborted.
pub(crate) async fn follow_plays(hub: Arc<Hub>, hot: HotStore) {
    let mut reader = hot.plays().follow_frames();
    loop {
        match reader.next(READ_TIMEOUT).await {
            Ok(frames) => {
                let frames: Vec<_> = frames.iter().filter_map(parse_counts).collect();
                if !frames.is_empty() {
                    hub.broadcast(WorkerEvent::Plays(Arc::new(PlayFrames::encode(frames)))).await;
                }
            }
            Err(error) => {
                debug!(%error, "cannot read play count frames from Redis; retrying");
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

fn parse_counts(json: &Bytes) -> Option<Vec<VideoCount>> {
    serde_json::from_slice(json)
        .inspect_err(|error| warn!(%error, "plays feed: skipped a malformed frame of play counts"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_counts_are_skipped() {
        assert!(parse_counts(&Bytes::from_static(br#"[{"video_id":"a","count":1}]"#)).is_some());
        assert!(parse_counts(&Bytes::from_static(br#"[{"video_id":7}]"#)).is_none());
    }
}
