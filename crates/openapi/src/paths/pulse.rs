//! The pulse: the health of the whole system.

use serde_json::json;
use utoipa::openapi::{HttpMethod, ObjectBuilder, Type};

use super::stats;
use crate::{
    operation::{Api::List, Operation},
    schema::{AnySchema, content, count, instant, nullable, object, schema_ref, with_required},
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
    Operation::new(List, HttpMethod::Get, "/v1/pulse", "get_pulse", "Get the health of the system")
        .tag(stats::TAG)
        .description(
            "Updated once per second. Returns 503 if there was no update for five seconds.",
        )
        .response(200, "The pulse.", "application/json", content(schema_ref("Pulse"), example))
        .problems(&[mayfly_http::Code::InvalidField])
        .store_problems()
}

fn pulse() -> AnySchema {
    let queue = [
        (
            "depth",
            count().description(Some(
                "Messages and plays that are accepted but not yet stored or counted.",
            )),
        ),
        ("oldest_age_ms", count().description(Some("Waiting time of the oldest entry."))),
        ("dead_letters", count().description(Some("Entries in the dead-letter queue."))),
    ];
    let rates = [
        ("accepted", number().description(Some("Accepted messages and plays."))),
        ("stored", number().description(Some("Stored messages and counted plays."))),
        ("delivered", number().description(Some("Frames enqueued to connections."))),
    ];
    let consumption = ["latest", "average", "p50", "p99"].map(|name| (name, nullable(number())));
    let members = [
        ("generated_at", instant()),
        ("queue", with_required(object(), queue)),
        (
            "rates",
            with_required(object(), rates).description(Some("Items per second over the last five seconds.")),
        ),
        (
            "consumption_ms",
            with_required(object(), consumption).description(Some(
                "Time in milliseconds from acceptance until items were stored or counted, over the last minute. \
                 Null if there were none.",
            )),
        ),
        ("connections", count()),
    ];
    with_required(object(), members).description(Some("The health of the system.")).into()
}

/// Returns the schema of a non-negative number.
fn number() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0_usize))
}
