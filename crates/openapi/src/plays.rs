//! Plays: reporting them, and how often videos were played.

use mayfly_core::limits;
use mayfly_http::Code;
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::{
    header::Answered,
    operation::{
        Api::{Ingest, List},
        Operation,
    },
    schema::{
        AnySchema, array, boolean, closed_object, content, count, cursor, instant, named, object,
        or_null, play_id, video_id, whole, with_all,
    },
};

pub(crate) const TAG: &str = "plays";
const JSON: &str = "application/json";

pub(crate) fn schemas() -> Vec<(&'static str, AnySchema)> {
    vec![
        ("Play", play()),
        ("Plays", plays()),
        ("AcceptedPlays", accepted_plays()),
        ("PlayCount", play_count()),
        ("PlayCountPage", page()),
    ]
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![post_plays(), list_plays(), get_plays()]
}

fn post_plays() -> Operation {
    let example = json!([{"video_id": "intro"}, {"video_id": "intro", "play_id": "tab-7:1"}]);
    Operation::new(Ingest, HttpMethod::Post, "/v1/plays", "post_plays", "Report plays of videos")
        .tag(TAG)
        .says(format!(
            "A play, or 1 to {} of them, at most {} bytes: all are accepted, or none. Each counts exactly once. One \
             with a `play_id` counts once for its video within 24 hours, however often it is reported. What is wrong \
             with an item is named with its index, as in `[3].video_id`.",
            limits::PLAYS_MAX,
            limits::BATCH_BYTES_MAX
        ))
        .body([(JSON, content(named("Plays"), example))])
        .refuses(&[Code::InvalidJson])
        .answers(
            202,
            "All are accepted.",
            JSON,
            content(named("AcceptedPlays"), json!({"accepted": 2})),
        )
        .writes_items()
}

fn list_plays() -> Operation {
    let page = json!({"items": [example()], "next_cursor": "1p7b-696e74726f", "has_more": true});
    Operation::new(List, HttpMethod::Get, "/v1/plays", "list_plays", "List how often videos were played")
        .tag(TAG)
        .says(
            "The most played first. Counts move meanwhile: a walk may meet a video twice. Goes on while Postgres is away.",
        )
        .query(
            "limit",
            whole(1, limits::PAGE_ITEMS_MAX as usize)
                .default(Some(limits::PAGE_ITEMS_DEFAULT.into())),
            "How many at most.",
        )
        .query("cursor", cursor(), "The `next_cursor` of the page before.")
        .answers(200, "A page.", JSON, content(named("PlayCountPage"), page))
        .headers(&[Answered::Link])
        .refuses(&[Code::InvalidCursor])
        .reads_a_store()
}

fn get_plays() -> Operation {
    let path = "/v1/plays/{video_id}";
    Operation::new(List, HttpMethod::Get, path, "get_plays", "Read how often a video was played")
        .tag(TAG)
        .says("Goes on while Postgres is away.")
        .named("video_id", video_id(), "The id of the video.")
        .answers(200, "Its count.", JSON, content(named("PlayCount"), example()))
        .refuses(&[Code::NotFound])
        .reads_a_store()
}

fn play() -> AnySchema {
    closed_object()
        .description(Some("One play of one video."))
        .property("video_id", video_id())
        .property(
            "play_id",
            or_null(play_id()).description(Some(
                "What the play is known by when it is reported again. Without it, each report counts.",
            )),
        )
        .required("video_id")
        .into()
}

fn plays() -> AnySchema {
    utoipa::openapi::schema::OneOfBuilder::new()
        .item(named("Play"))
        .item(array(named("Play"), 1, limits::PLAYS_MAX))
        .into()
}

fn accepted_plays() -> AnySchema {
    with_all(object(), [("accepted", whole(1, limits::PLAYS_MAX))]).into()
}

fn play_count() -> AnySchema {
    let members = [
        ("video_id", video_id()),
        ("count", count()),
        ("updated_at", instant().description(Some("When the last play was counted."))),
    ];
    with_all(object(), members).into()
}

fn page() -> AnySchema {
    object()
        .property("items", array(named("PlayCount"), 0, limits::PAGE_ITEMS_MAX as usize))
        .property(
            "next_cursor",
            or_null(cursor()).description(Some(
                "Asks for what comes after. Null only where nothing was listed.",
            )),
        )
        .property("has_more", boolean())
        .required("items")
        .required("next_cursor")
        .required("has_more")
        .into()
}

fn example() -> Value {
    json!({"video_id": "intro", "count": 123, "updated_at": "2026-11-20T19:07:00.123Z"})
}
