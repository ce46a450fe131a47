//! The statistics snapshot: the redirect to the S3 object, and its content.

use mayfly_core::stats::{TOP_CITIES_MAX, TOP_VIDEOS_MAX};
use mayfly_http::Code;
use utoipa::openapi::HttpMethod;

use crate::{
    header::ResponseHeader,
    operation::{Api::List, Operation},
    schema::{
        AnySchema, array, count, instant, nullable, object, one_of, place, video_id, with_required,
    },
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
    Operation::new(List, HttpMethod::Get, path, id, "Get the statistics snapshot")
        .tag(TAG)
        .description(
            "Redirects to the newest `Snapshot` in S3: to a URL that is presigned for five minutes, or to the public URL \
             if one is configured. Returns 503 before the first snapshot.",
        )
        .empty_response(302, "A redirect to the snapshot.")
        .response_headers(&[ResponseHeader::Location(
            "The presigned URL of the object in S3, or `MAYFLY_STATS__PUBLIC_URL` if that is set.",
        )])
        .problems(&[Code::InvalidField])
        .store_problems()
}

fn snapshot() -> AnySchema {
    let messages = with_required(
        object(),
        [
            (
                "total",
                count()
                    .description(Some("All messages ever stored; retention does not reduce it.")),
            ),
            ("last_hour", count()),
            ("last_minute", count()),
        ],
    );
    let city = with_required(
        object(),
        [("city", place()), ("state", nullable(place())), ("messages", count())],
    );
    let top_cities = array(city, 0, TOP_CITIES_MAX as usize)
        .description(Some("Sorted by the number of messages, descending."));
    let video = with_required(object(), [("video_id", video_id()), ("count", count())]);
    let top_videos = array(video, 0, TOP_VIDEOS_MAX as usize);
    let sums = [
        ("total", count().description(Some("All plays ever counted."))),
        ("videos", count().description(Some("All videos ever played."))),
    ];
    let plays = with_required(object(), sums)
        .property("top", top_videos.description(Some("Sorted by the number of plays, descending.")))
        .required("top");
    with_required(
        object(),
        [
            ("result", one_of(["success"])),
            ("generated_at", instant()),
            ("cities", count().description(Some("Distinct cities in all messages ever stored."))),
            ("users", count().description(Some("Distinct usernames in all messages ever stored."))),
            ("messages", messages),
        ],
    )
    .property("top_cities", top_cities)
    .required("top_cities")
    .property("plays", plays)
    .required("plays")
    .description(Some("The statistics snapshot, as stored in S3."))
    .into()
}
