//! The pulse: the health of the whole system.

use serde_json::json;
use utoipa::openapi::HttpMethod;

use super::stats;
use crate::{
    operation::{Api::List, Operation},
    schema::{content, schema_ref},
};

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
            "Updated once per second. Returns 503 if there has been no update for five seconds.",
        )
        .response(200, "The pulse.", "application/json", content(schema_ref("Pulse"), example))
        .problems(&[mayfly_http::Code::InvalidField])
        .store_problems()
}
