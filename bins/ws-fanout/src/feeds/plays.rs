//! Reads the play count frames of the `plays` feed from a short Redis stream and broadcasts them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mayfly_core::plays::VideoCount;
use mayfly_hot::HotStore;
use mayfly_runtime::OutageLog;
use tokio::time::sleep;

use crate::{frames::PlayFrames, hub::Hub, worker_event::WorkerEvent};

/// Timeout for a blocking read.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Reads play count frames and broadcasts them. Runs until the task is aborted.
pub(crate) async fn follow_plays(hub: Arc<Hub>, hot: HotStore) {
    let mut reader = hot.plays().follow_frames();
    let outages = OutageLog::new("read play counts");
    let malformed = OutageLog::new("decode play counts (malformed ones are skipped)");
    loop {
        match reader.next(READ_TIMEOUT).await {
            Ok(frames) => {
                outages.record_success();
                let frames: Vec<_> = frames
                    .iter()
                    .filter_map(|frame| {
                        let counts = parse_counts(frame);
                        malformed.record(&counts);
                        counts.ok()
                    })
                    .collect();
                if !frames.is_empty() {
                    let frames = PlayFrames::encode(frames, &hub.memory);
                    hub.broadcast(WorkerEvent::Plays(Arc::new(frames))).await;
                }
            }
            Err(error) => {
                outages.record_failure(error);
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

fn parse_counts(json: &Bytes) -> Result<Vec<VideoCount>, serde_json::Error> {
    serde_json::from_slice(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_counts_are_skipped() {
        assert!(parse_counts(&Bytes::from_static(br#"[{"video_id":"a","count":1}]"#)).is_ok());
        assert!(parse_counts(&Bytes::from_static(br#"[{"video_id":7}]"#)).is_err());
    }
}
