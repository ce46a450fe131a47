//! The feed `plays`: frames of counts, as the publisher made them, each read once from a short stream.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use mayfly_core::frame::{ServerFrame, VideoCount};
use mayfly_hot::Hot;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::{
    batch::{Encoding, encode_json},
    hub::{Hub, News},
};

/// How long frames are waited for.
const WAIT: Duration = Duration::from_secs(1);
/// The pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Frames that came at once, encoded once for all connections that want every video.
pub(crate) struct Plays {
    frames: Vec<Vec<VideoCount>>,
    websocket: Bytes,
    /// Made when the first connection wants it.
    events: OnceLock<Bytes>,
}

/// Follows the frames and tells the hub, until it is aborted.
pub(crate) async fn follow(hub: Arc<Hub>, hot: Hot) {
    let mut frames = hot.follow_play_frames();
    loop {
        match frames.next(WAIT).await {
            Ok(frames) => {
                let frames: Vec<_> = frames.iter().filter_map(read).collect();
                if !frames.is_empty() {
                    hub.tell(News::Plays(Arc::new(Plays::new(frames)))).await;
                }
            }
            Err(error) => {
                debug!(%error, "cannot read frames of counts now");
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

fn read(json: &Bytes) -> Option<Vec<VideoCount>> {
    let counts = serde_json::from_slice(json);
    counts.inspect_err(|error| warn!(%error, "a frame of counts cannot be read: left out")).ok()
}

impl Plays {
    fn new(frames: Vec<Vec<VideoCount>>) -> Self {
        let websocket = encode(&frames, Encoding::WebSocket);
        Self { frames, websocket, events: OnceLock::new() }
    }

    /// Bytes of all frames.
    pub(crate) fn weight(&self) -> usize {
        self.websocket.len()
    }

    /// The frames of these videos, of all where none is named, and how many there are; nothing if
    /// there is none.
    pub(crate) fn select(
        &self,
        encoding: Encoding,
        videos: &BTreeSet<String>,
    ) -> Option<(Bytes, usize)> {
        if videos.is_empty() {
            let bytes = match encoding {
                Encoding::WebSocket => self.websocket.clone(),
                Encoding::Events => {
                    self.events.get_or_init(|| encode(&self.frames, Encoding::Events)).clone()
                }
            };
            return Some((bytes, self.frames.len()));
        }
        let of_videos = |frame: &Vec<VideoCount>| {
            let wanted = frame.iter().filter(|count| videos.contains(&count.video_id));
            let wanted: Vec<_> = wanted.cloned().collect();
            (!wanted.is_empty()).then_some(wanted)
        };
        let frames: Vec<_> = self.frames.iter().filter_map(of_videos).collect();
        (!frames.is_empty()).then(|| (encode(&frames, encoding), frames.len()))
    }
}

/// Frames of counts have no position: what is resumed are messages.
fn encode(frames: &[Vec<VideoCount>], encoding: Encoding) -> Bytes {
    let mut bytes = Vec::new();
    for counts in frames {
        encode_json(&mut bytes, encoding, None, &ServerFrame::Plays { counts }.to_json());
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_videos_gets_these_alone_and_who_does_not_shares_the_bytes() {
        let frame = |json: &'static str| read(&Bytes::from_static(json.as_bytes())).expect("sound");
        let plays = Plays::new(vec![
            frame(r#"[{"video_id":"a","count":1},{"video_id":"b","count":2}]"#),
            frame(r#"[{"video_id":"c","count":3}]"#),
        ]);
        let show = |videos: &[&str]| {
            let videos = videos.iter().map(|&video| video.to_owned()).collect();
            plays
                .select(Encoding::Events, &videos)
                .map(|(bytes, frames)| (String::from_utf8_lossy(&bytes).into_owned(), frames))
        };
        let all = "data: {\"type\":\"plays\",\"counts\":[{\"video_id\":\"a\",\"count\":1},{\"video_id\":\"b\",\"count\":2}]}\n\n\
                   data: {\"type\":\"plays\",\"counts\":[{\"video_id\":\"c\",\"count\":3}]}\n\n";
        assert_eq!(show(&[]), Some((all.to_owned(), 2)));
        let one = "data: {\"type\":\"plays\",\"counts\":[{\"video_id\":\"b\",\"count\":2}]}\n\n";
        assert_eq!(show(&["b", "x"]), Some((one.to_owned(), 1)));
        assert_eq!(show(&["x"]), None);
        let shared = || plays.select(Encoding::WebSocket, &BTreeSet::new()).expect("all of it").0;
        assert_eq!(shared().as_ptr(), shared().as_ptr());
        assert!(read(&Bytes::from_static(b"[{\"video_id\":7}]")).is_none());
    }
}
