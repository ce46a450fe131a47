//! Log lines for requests.

use std::{
    io::{Result, Write},
    sync::Once,
};

use parking_lot::Mutex;
use serde_json::Value;

use crate::server::start;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// A writer that collects the log of all tests in memory.
struct Memory;

impl Write for Memory {
    fn write(&mut self, line: &[u8]) -> Result<usize> {
        LINES.lock().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

fn capture_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_env_filter("mayfly_http=debug,mayfly_runtime=info")
            .with_writer(|| Memory)
            .init();
    });
}

/// Returns the log lines with this request ID in the event or in its span.
fn find_lines(id: &str) -> Vec<Value> {
    let log = LINES.lock();
    String::from_utf8_lossy(&log)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|line| line["request.id"] == id || line["span"]["request.id"] == id)
        .collect()
}

#[tokio::test]
async fn successful_request_is_logged_at_debug() {
    capture_log();
    let server = start(&[]).await;
    let request = server.get("/plain").header("x-request-id", "succeeded");
    request.header("traceparent", TRACEPARENT).send().await.expect("a response");
    let lines = find_lines("succeeded");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["level"], "DEBUG");
    assert_eq!(lines[0]["span"]["http.path"], "/plain");
    assert_eq!(lines[0]["span"]["trace.parent"], TRACEPARENT);
}

#[tokio::test]
async fn failed_request_is_logged_at_error_with_cause_and_without_query() {
    capture_log();
    let server = start(&[]).await;
    let path = "/problem/internal?token=hunter2&apikey=hunter2";
    let request = server.get(path).header("x-request-id", "failed");
    request.header("traceparent", TRACEPARENT).send().await.expect("a response");
    let lines = find_lines("failed");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["level"], "ERROR");
    assert_eq!(lines[0]["request.id"], "failed");
    assert_eq!(lines[0]["trace.parent"], TRACEPARENT);
    assert_eq!(lines[0]["http.status"], 500);
    assert_eq!(lines[0]["cause"], "an internal secret");
    assert!(!lines[0].to_string().contains("hunter2"));
}
