//! More requests than ingest-api, or Redis, can process.

mod abuse;
mod body_memory;
mod clients;
mod cold_reads;
mod connection_memory;
mod goodput;
mod limited_clients;
mod worker_memory;

/// Returns the body of a batch of this many messages with texts of this length.
fn batch(messages: usize, text_chars: usize) -> String {
    let message = format!(r#"{{"text":"{}"}}"#, "x".repeat(text_chars));
    format!("[{}]", vec![message; messages].join(","))
}
