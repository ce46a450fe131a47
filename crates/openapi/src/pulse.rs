//! The pulse: how the whole is doing.

use serde_json::json;
use utoipa::openapi::{HttpMethod, ObjectBuilder, Type};

use crate::{
    operation::{Api::List, Operation},
    schema::{AnySchema, content, count, instant, named, object, or_null, with_all},
    stats,
};

pub(crate) fn schemas() -> Vec<(&'static str, AnySchema)> {
    vec![("Pulse", pulse())]
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![get_pulse()]
}

fn get_pulse() -> Operation {
    let example = json!({
        "generated_at": "2026-11-20T19:07:00.123Z",
        "queue": {"depth": 12, "oldest_age_ms": 40, "dead_letters": 0},
        "rates": {"accepted": 1200.5, "stored": 1198.0, "delivered": 36000.0},
        "consumption_ms": {"latest": 12, "average": 15.3, "p50": 11.0, "p99": 80.0},
        "connections": 30,
    });
    Operation::new(List, HttpMethod::Get, "/v1/pulse", "get_pulse", "See how the whole is doing")
        .tag(stats::TAG)
        .says("Taken once a second. 503 where nobody has taken it for some seconds.")
        .answers(200, "The pulse.", "application/json", content(named("Pulse"), example))
        .refuses(&[mayfly_http::Code::InvalidField])
        .reads_a_store()
}

fn pulse() -> AnySchema {
    let queue = [
        (
            "depth",
            count().description(Some(
                "Messages and plays that are accepted and not yet stored or counted.",
            )),
        ),
        ("oldest_age_ms", count().description(Some("How long the oldest of them waits."))),
        ("dead_letters", count().description(Some("Entries that nobody could store."))),
    ];
    let rates = [
        ("accepted", number().description(Some("Messages and plays."))),
        ("stored", number().description(Some("Messages and plays."))),
        ("delivered", number().description(Some("Frames to connections."))),
    ];
    let consumption = ["latest", "average", "p50", "p99"].map(|name| (name, or_null(number())));
    let members = [
        ("generated_at", instant()),
        ("queue", with_all(object(), queue)),
        (
            "rates",
            with_all(object(), rates).description(Some("Items a second, over the last seconds.")),
        ),
        (
            "consumption_ms",
            with_all(object(), consumption).description(Some(
                "How long items waited until they were stored or counted, in milliseconds, over the last minute. \
                 Null where there were none.",
            )),
        ),
        ("connections", count()),
    ];
    with_all(object(), members).description(Some("How the whole is doing.")).into()
}

/// A number that is not negative.
fn number() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0_usize))
}
