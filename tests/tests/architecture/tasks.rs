//! A panic in an essential task of a service or of the supervisor ends the process.

use std::fs;

use super::{product_code, root};

/// Files with tasks that are not essential, because the process detects and handles their end, or
/// because nothing else depends on them.
const HANDLED: [&str; 13] = [
    // Callers of the cache fetch again, or a later request refreshes.
    "bins/list-api/src/cache.rs",
    "bins/list-api/src/increasing.rs",
    // The tasks run queries and calls that are repeated later.
    "bins/stats-publisher/src/trends/history.rs",
    "bins/stats-publisher/src/trends/upstream/key_registration.rs",
    "bins/stats-publisher/src/trends/upstream/refresh.rs",
    // The owner of the task exits as well.
    "bins/ws-fanout/src/feeds/stream.rs",
    "crates/http/src/server/mod.rs",
    // The owner reconnects.
    "crates/cold/src/store/connect/mod.rs",
    "crates/hot/src/feeds/subscription.rs",
    // The caller waits for the task.
    "crates/stack/src/server/postgres.rs",
    // Each task serves a single connection.
    "crates/stack/src/server/firewall.rs",
    "crates/stack/src/server/s3_server.rs",
    // The task only lets an operator interrupt a command.
    "bins/mayfly/src/signals.rs",
];

#[test]
fn essential_tasks_exit_on_panic() {
    let mut essential = 0;
    for file in product_code() {
        let name = file.strip_prefix(root()).expect("in the workspace").display().to_string();
        let is_client = ["crates/simulate/", "crates/live-client/"]
            .iter()
            .any(|client| name.starts_with(client));
        // Unit tests may spawn any task.
        let is_test = name.ends_with("/tests.rs") || name.contains("/tests/");
        if is_client || is_test || HANDLED.contains(&name.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("valid UTF-8");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let calls = ["tokio::spawn(", "tasks.spawn(", "self.runtime.spawn("];
        let spawned = calls.map(|call| code.split(call).skip(1));
        for argument in spawned.into_iter().flatten() {
            essential += 1;
            assert!(
                argument.trim_start().starts_with("exit_on_panic("),
                "{name}: wrap the task in `exit_on_panic`, or handle its end and add the file to HANDLED"
            );
        }
    }
    assert!(essential > 15, "only {essential} tasks found");
}
