//! The statistics snapshot: the redirect to the object in S3.

use mayfly_http::Code;
use utoipa::openapi::HttpMethod;

use crate::{
    header::ResponseHeader,
    operation::{Api::List, Operation},
};

pub(crate) const TAG: &str = "statistics";

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
            "Redirects to the newest `Snapshot` in S3: to a presigned URL that is valid for five minutes, or to \
             the public URL if one is configured. Returns 503 before the first snapshot.",
        )
        .empty_response(302, "A redirect to the snapshot.")
        .response_headers(&[ResponseHeader::Location(
            "The presigned URL of the object in S3, or `MAYFLY_STATS__PUBLIC_URL` if that is set.",
        )])
        .problems(&[Code::InvalidField])
        .store_problems()
}
