//! Plays: reporting plays and reading play counts.

use mayfly_core::limits;
use mayfly_http::Code;
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::{
    header::ResponseHeader,
    operation::{
        Api::{Ingest, List},
        Operation,
    },
    schema::{
        AnySchema, array, boolean, closed_object, content, cursor, integer, nullable, object,
        play_id, schema_ref, video_id, with_required,
    },
};

pub(crate) const TAG: &str = "plays";
const JSON: &str = "application/json";

pub(crate) fn schemas() -> Vec<(&'static str, AnySchema)> {
    vec![
        ("Play", play()),
        ("Plays", plays()),
        ("AcceptedPlays", accepted_plays()),
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
        .description(format!(
            "Accepts one play or an array of 1 to {} plays in at most {} bytes. Accepts all of them or none. Every play \
             counts exactly once. A play with a `play_id` counts once per video within 24 hours, even if it is reported \
             repeatedly. Errors name the index of the item, as in `[3].video_id`.",
            limits::PLAYS_MAX,
            limits::BATCH_BYTES_MAX
        ))
        .required_body([(JSON, content(schema_ref("Plays"), example))])
        .problems(&[Code::InvalidJson])
        .response(
            202,
            "All items are accepted.",
            JSON,
            content(schema_ref("AcceptedPlays"), json!({"accepted": 2})),
        )
        .accepts_items()
}

fn list_plays() -> Operation {
    let page = json!({"items": [example()], "next_cursor": "1p7b-696e74726f", "has_more": true});
    Operation::new(List, HttpMethod::Get, "/v1/plays", "list_plays", "List play counts")
        .tag(TAG)
        .description(
            "Returns the play counts, highest first. Counts can change between pages: a video can appear twice, \
             but a video with an unchanged count is never missed. Remains available while Postgres is unavailable.",
        )
        .optional_query(
            "limit",
            integer(1, limits::PAGE_ITEMS_MAX as usize)
                .default(Some(limits::PAGE_ITEMS_DEFAULT.into())),
            "Maximum number of items.",
        )
        .optional_query("cursor", cursor(), "`next_cursor` of the previous page.")
        .response(200, "A page of play counts.", JSON, content(schema_ref("PlayCountPage"), page))
        .response_headers(&[ResponseHeader::Link])
        .problems(&[Code::InvalidCursor])
        .store_problems()
}

fn get_plays() -> Operation {
    let path = "/v1/plays/{video_id}";
    Operation::new(List, HttpMethod::Get, path, "get_plays", "Get the play count of a video")
        .tag(TAG)
        .description("Remains available while Postgres is unavailable.")
        .path_parameter("video_id", video_id(), "The ID of the video.")
        .response(200, "The play count.", JSON, content(schema_ref("PlayCount"), example()))
        .problems(&[Code::NotFound])
        .store_problems()
}

fn play() -> AnySchema {
    closed_object()
        .description(Some("A play of a video."))
        .property("video_id", video_id())
        .property(
            "play_id",
            nullable(play_id()).description(Some(
                "The ID that identifies repeated reports of the play. Without it, every report counts.",
            )),
        )
        .required("video_id")
        .into()
}

fn plays() -> AnySchema {
    utoipa::openapi::schema::OneOfBuilder::new()
        .item(schema_ref("Play"))
        .item(array(schema_ref("Play"), 1, limits::PLAYS_MAX))
        .into()
}

fn accepted_plays() -> AnySchema {
    with_required(object(), [("accepted", integer(1, limits::PLAYS_MAX))]).into()
}

fn page() -> AnySchema {
    object()
        .property("items", array(schema_ref("PlayCount"), 0, limits::PAGE_ITEMS_MAX as usize))
        .property(
            "next_cursor",
            nullable(cursor()).description(Some(
                "The cursor for the next page. Null only if there are no items.",
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
