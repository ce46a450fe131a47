//! What an operator finds in the log of a request.

use std::{
    io::{Result, Write},
    sync::{Mutex, Once, PoisonError},
};

use serde_json::Value;

use crate::server::start;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Writes the log of all tests into memory.
struct Memory;

impl Write for Memory {
    fn write(&mut self, line: &[u8]) -> Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

fn record() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_env_filter("mayfly_http=debug")
            .with_writer(|| Memory)
            .init();
    });
}

/// Finds the lines that carry an id, in themselves or in their span.
fn lines_of(id: &str) -> Vec<Value> {
    let log = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&log)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|line| line["request.id"] == id || line["span"]["request.id"] == id)
        .collect()
}

#[tokio::test]
async fn a_request_that_went_well_stands_in_the_log_at_debug() {
    record();
    let server = start(&[]).await;
    server.get("/plain").header("x-request-id", "went-well").send().await.expect("an answer");
    let lines = lines_of("went-well");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["level"], "DEBUG");
    assert_eq!(lines[0]["span"]["http.path"], "/plain");
}

#[tokio::test]
async fn a_failure_stands_in_the_log_at_error_with_its_cause_and_no_query() {
    record();
    let server = start(&[]).await;
    let path = "/problem/internal?token=hunter2";
    server.get(path).header("x-request-id", "went-wrong").send().await.expect("an answer");
    let lines = lines_of("went-wrong");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["level"], "ERROR");
    assert_eq!(lines[0]["request.id"], "went-wrong");
    assert_eq!(lines[0]["http.status"], 500);
    assert_eq!(lines[0]["cause"], "a secret of the inside");
    assert!(!lines[0].to_string().contains("hunter2"));
}
