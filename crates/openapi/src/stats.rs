//! The statistics of the minute: a way to the object in S3, and what is in it.

use mayfly_core::snapshot::{TOP_CITIES_MAX, TOP_VIDEOS_MAX};
use mayfly_http::Code;
use utoipa::openapi::HttpMethod;

use crate::{
    header::Answered,
    operation::{Api::List, Operation},
    schema::{AnySchema, array, count, instant, object, or_null, place, video_id, with_all, words},
};

pub(crate) const TAG: &str = "statistics";

pub(crate) fn schemas() -> Vec<(&'static str, AnySchema)> {
    vec![("Snapshot", snapshot())]
}

pub(crate) fn operations() -> Vec<Operation> {
    [
        ("/v1/stats", "get_stats"),
        ("/stat/get/", "get_stat"),
        ("/stat/get", "get_stat_without_slash"),
    ]
    .map(|(path, id)| get_stats(path, id))
    .into()
}

fn get_stats(path: &'static str, id: &str) -> Operation {
    Operation::new(List, HttpMethod::Get, path, id, "Find the statistics of the last minute")
        .tag(TAG)
        .says(
            "Leads to a `Snapshot` in S3, by a URL that is signed for five minutes, or by the public one. 503 before \
             there is one.",
        )
        .answers_plainly(302, "There it is.")
        .headers(&[Answered::Location(
            "The object in S3, by a signed URL, or `MAYFLY_STATS__PUBLIC_URL` where that is set.",
        )])
        .refuses(&[Code::InvalidField])
        .reads_a_store()
}

fn snapshot() -> AnySchema {
    let messages = with_all(
        object(),
        [
            ("total", count().description(Some("Ever stored; retention takes nothing away."))),
            ("last_hour", count()),
            ("last_minute", count()),
        ],
    );
    let city =
        with_all(object(), [("city", place()), ("state", or_null(place())), ("messages", count())]);
    let top_cities =
        array(city, 0, TOP_CITIES_MAX as usize).description(Some("Most messages first."));
    let video = with_all(object(), [("video_id", video_id()), ("count", count())]);
    let top_videos = array(video, 0, TOP_VIDEOS_MAX as usize);
    let sums = [
        ("total", count().description(Some("Plays ever counted."))),
        ("videos", count().description(Some("Videos ever played."))),
    ];
    let plays = with_all(object(), sums)
        .property("top", top_videos.description(Some("Most plays first.")))
        .required("top");
    with_all(
        object(),
        [
            ("result", words(["success"])),
            ("generated_at", instant()),
            ("cities", count().description(Some("Distinct over all messages ever stored."))),
            ("users", count().description(Some("Distinct over all messages ever stored."))),
            ("messages", messages),
        ],
    )
    .property("top_cities", top_cities)
    .required("top_cities")
    .property("plays", plays)
    .required("plays")
    .description(Some("The sums of a minute, as they lie in S3."))
    .into()
}
