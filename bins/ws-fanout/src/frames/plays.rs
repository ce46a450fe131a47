//! Frames of play counts.

use bytes::Bytes;
use mayfly_core::{VideoCount, frame::ServerFrame};

use super::encoding::{EncodedOnce, Encoding, encode_json};
use crate::{
    hub::{ConnectionMemory, StoredBytes},
    subscription::Videos,
};

/// Play count frames that were read together. For connections that subscribe to all videos, the
/// frames are encoded at most once per wire format.
pub(crate) struct PlayFrames {
    frames: Vec<Vec<VideoCount>>,
    encoded: EncodedOnce<StoredBytes>,
}

impl PlayFrames {
    pub(crate) fn encode(frames: Vec<Vec<VideoCount>>, memory: &ConnectionMemory) -> Self {
        let encoded = memory.store(encode_frames(&frames, Encoding::WebSocket));
        Self { frames, encoded: EncodedOnce::new(encoded) }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.encoded.websocket().len()
    }

    /// Returns the encoded frames with the counts for `videos`, and the number of frames. Returns
    /// `None` if no frame contains any of the videos.
    pub(crate) fn select(&self, encoding: Encoding, videos: &Videos) -> Option<(Bytes, usize)> {
        let Videos::Some(videos) = videos else {
            let encode_sse = |websocket: &StoredBytes| {
                websocket.memory().store(encode_frames(&self.frames, Encoding::Sse))
            };
            let all = self.encoded.get(encoding, encode_sse);
            return Some((Bytes::clone(all), self.frames.len()));
        };
        let filter_counts = |frame: &Vec<VideoCount>| {
            let wanted = frame.iter().filter(|count| videos.contains(&count.video_id));
            let wanted: Vec<_> = wanted.cloned().collect();
            (!wanted.is_empty()).then_some(wanted)
        };
        let frames: Vec<_> = self.frames.iter().filter_map(filter_counts).collect();
        let memory = self.encoded.websocket().memory();
        (!frames.is_empty()).then(|| (memory.share(encode_frames(&frames, encoding)), frames.len()))
    }
}

/// Encodes frames without a position, because clients cannot resume the feed.
fn encode_frames(frames: &[Vec<VideoCount>], encoding: Encoding) -> Vec<u8> {
    let mut buffer = Vec::new();
    for counts in frames {
        encode_json(&mut buffer, encoding, None, &ServerFrame::Plays { counts }.to_json());
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_filtered_by_video_and_shared_without_a_filter() {
        let frame = |json: &str| serde_json::from_str(json).expect("valid counts");
        let memory = ConnectionMemory::new(0);
        let frames = vec![
            frame(r#"[{"video_id":"a","count":1},{"video_id":"b","count":2}]"#),
            frame(r#"[{"video_id":"c","count":3}]"#),
        ];
        let plays = PlayFrames::encode(frames, &memory);
        let named =
            |videos: &[&str]| Videos::Some(videos.iter().map(|&video| video.to_owned()).collect());
        let select = |videos: Videos| {
            plays
                .select(Encoding::Sse, &videos)
                .map(|(bytes, frames)| (String::from_utf8_lossy(&bytes).into_owned(), frames))
        };
        let all = "data: {\"type\":\"plays\",\"counts\":[{\"video_id\":\"a\",\"count\":1},{\"video_id\":\"b\",\"count\":2}]}\n\n\
                   data: {\"type\":\"plays\",\"counts\":[{\"video_id\":\"c\",\"count\":3}]}\n\n";
        assert_eq!(select(Videos::All), Some((all.to_owned(), 2)));
        assert_eq!(select(named(&[])), None);
        let one = "data: {\"type\":\"plays\",\"counts\":[{\"video_id\":\"b\",\"count\":2}]}\n\n";
        assert_eq!(select(named(&["b", "x"])), Some((one.to_owned(), 1)));
        assert_eq!(select(named(&["x"])), None);
        let shared = || plays.select(Encoding::WebSocket, &Videos::All).expect("all counts").0;
        assert_eq!(shared().as_ptr(), shared().as_ptr());
        assert_eq!(memory.bytes(), 0, "stored frames do not count");
    }
}
