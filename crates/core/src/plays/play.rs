//! Plays of videos: the request body and the stream entry.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    input::{
        FieldErrors, InputError, ItemRules, Items, RequestBody, checked_text, has_chars, optional,
        parse_as, required,
    },
    limits,
};

checked_text!(
    /// The ID of a video, chosen by the site. Case and whitespace are significant.
    VideoId,
    "must be 1 to 128 characters without U+0000",
    |text| has_chars(text, limits::VIDEO_ID_CHARS_MAX) && !text.contains('\0')
);

checked_text!(
    /// The ID of a play, unique per video. Repeated reports of a play are recognized by this ID.
    PlayId,
    "must be 1 to 128 characters without U+0000",
    |text| has_chars(text, limits::PLAY_ID_CHARS_MAX) && !text.contains('\0')
);

/// A validated play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Play {
    /// The ID of the video.
    pub video_id: VideoId,
    /// The ID of the play. Reports with the same video ID and play ID count once within
    /// [`limits::PLAY_ID_RETENTION`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub play_id: Option<PlayId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlayBody {
    video_id: Option<String>,
    play_id: Option<String>,
}

impl RequestBody<'_> for PlayBody {}

impl Play {
    fn from_json(json: &str) -> Result<Self, InputError> {
        let body: PlayBody = parse_as(json, '{', "must be an object")?;
        let mut errors = FieldErrors::default();
        let video_id = required(&mut errors, "video_id", body.video_id, VideoId::parse);
        let play_id = optional(&mut errors, "play_id", body.play_id, PlayId::parse);
        match (video_id, errors.is_empty()) {
            (Some(video_id), true) => Ok(Self { video_id, play_id }),
            _ => Err(InputError::InvalidFields(errors)),
        }
    }
}

const RULES: ItemRules<Play> = ItemRules {
    items_max: limits::PLAYS_MAX,
    rule: "must contain 1 to 1000 plays",
    parse_item: Play::from_json,
};

/// Splits the body of `POST /v1/plays`: a play or an array of plays.
pub fn split_plays(json: &str) -> Result<Items<'_, Play>, InputError> {
    Items::split_object_or_array(json, &RULES)
}

/// The body of an entry in the stream `plays`: the plays from one accepted request.
#[derive(Debug, Serialize)]
pub struct Plays<'a> {
    /// The unique ID of the entry. Stream entry IDs are not unique, because Redis may reuse them
    /// after a data loss.
    pub id: Uuid,
    /// The time of acceptance.
    pub enqueued_at: Timestamp,
    /// The plays.
    pub plays: &'a [Play],
}

impl Plays<'_> {
    /// Serializes the body.
    ///
    /// # Panics
    /// Never, because strings and numbers always serialize.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("invariant: strings and numbers always serialize")
    }
}

/// The body of an entry in the stream `plays`, read back without repeating the validation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PlaysView<'a> {
    /// The unique ID of the entry.
    pub id: Uuid,
    /// The time of acceptance.
    pub enqueued_at: Timestamp,
    /// The plays.
    #[serde(borrow)]
    pub plays: Vec<PlayView<'a>>,
}

/// A play read back from an entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PlayView<'a> {
    /// The ID of the video.
    #[serde(borrow)]
    pub video_id: Cow<'a, str>,
    /// The ID of the play, if the report contains one.
    pub play_id: Option<String>,
}

impl<'a> PlaysView<'a> {
    /// Parses a body written by [`Plays::to_json`].
    pub fn from_json(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

/// Returns the deduplication key of a play: the first 16 bytes of a SHA-256 digest over the length
/// of the video ID, the video ID and the play ID. Accidental collisions are practically impossible.
#[must_use]
pub fn fingerprint(video_id: &str, play_id: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update((video_id.len() as u64).to_be_bytes());
    hash.update(video_id);
    hash.update(play_id);
    let hash: [u8; 32] = hash.finalize().into();
    Uuid::from_bytes(std::array::from_fn(|index| hash[index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_plays(json: &str) -> Result<Vec<Play>, InputError> {
        split_plays(json)?.parse()
    }

    fn parse_invalid(json: &str) -> Vec<(String, String)> {
        parse_plays(json).expect_err("it is invalid").into_fields()
    }

    #[test]
    fn body_is_a_play_or_an_array_of_plays() {
        let one = parse_plays(r#"{"video_id":"v"}"#).expect("a play");
        assert_eq!((one.len(), one[0].video_id.as_str(), &one[0].play_id), (1, "v", &None));
        let many = parse_plays(r#"[{"video_id":"v"},{"video_id":"w","play_id":"p"}]"#);
        let many = many.expect("two plays");
        assert_eq!(many[1].play_id.as_ref().map(PlayId::as_str), Some("p"));
        let array = |count| format!("[{}]", vec![r#"{"video_id":"v"}"#; count].join(","));
        assert_eq!(parse_plays(&array(1_000)).expect("it is full").len(), 1_000);
        assert!(parse_plays(&array(1_001)).is_err() && parse_plays("[]").is_err());
    }

    #[test]
    fn invalid_fields_are_reported_with_their_index() {
        let fields =
            |json| parse_invalid(json).into_iter().map(|(field, _)| field).collect::<Vec<_>>();
        assert_eq!(fields(r"{}"), ["video_id"]);
        assert_eq!(
            fields(r#"[{"video_id":"v"},{"video_id":"","play_id":""}]"#),
            ["[1].video_id", "[1].play_id"]
        );
        assert_eq!(fields(r#"[{"video_id":"v"},7]"#), ["[1]"]);
        assert_eq!(fields(r#"{"video_id":"v","uuid":"x"}"#), ["uuid"]);
        assert_eq!(fields(r#"{"video_id":"a\u0000"}"#), ["video_id"]);
        let long = format!(r#"{{"video_id":"{}"}}"#, "🦋".repeat(129));
        assert_eq!(parse_invalid(&long)[0].1, VideoId::RULE);
        assert!(matches!(parse_plays("{"), Err(InputError::InvalidJson(_))));
        assert!(matches!(parse_plays("7"), Err(InputError::InvalidFields(_))));
    }

    #[test]
    fn entry_round_trips() {
        let plays = parse_plays(r#"[{"video_id":"a\"b"},{"video_id":"w","play_id":"p"}]"#);
        let id: Uuid = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("an id");
        let enqueued_at = Timestamp::from_millis(1_795_201_620_123);
        let json = Plays { id, enqueued_at, plays: &plays.expect("two plays") }.to_json();
        insta::assert_snapshot!(String::from_utf8_lossy(&json), @r#"{"id":"019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47","enqueued_at":"2026-11-20T19:07:00.123Z","plays":[{"video_id":"a\"b"},{"video_id":"w","play_id":"p"}]}"#);
        let view = PlaysView::from_json(&json).expect("it parses");
        assert_eq!((view.id, view.enqueued_at, view.plays.len()), (id, enqueued_at, 2));
        assert_eq!(
            (&*view.plays[0].video_id, view.plays[1].play_id.as_deref()),
            ("a\"b", Some("p"))
        );
    }

    #[test]
    fn fingerprint_separates_video_and_play() {
        assert_ne!(fingerprint("ab", "c"), fingerprint("a", "bc"));
        assert_eq!(fingerprint("a", "b"), fingerprint("a", "b"));
    }
}
