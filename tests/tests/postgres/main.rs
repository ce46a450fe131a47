//! Tests of the cold store with a real Postgres server.

// Clippy computes the layout of the tests' futures, whose types are deeply nested.
#![recursion_limit = "256"]

mod api_keys;
mod connections;
mod cost;
mod durability;
mod health;
mod ledger;
mod messages;
mod migrations;
mod rights;
mod samples;
mod shares;
mod token_revocations;

use std::time::{Duration, Instant};

use mayfly_core::{Clock, Message, MessageId, NewMessage, SystemClock};
use mayfly_stack::SharedServers;
use secrecy::SecretString;
use uuid::Uuid;

/// Creates an empty database on the servers that all tests share, and returns its URL.
async fn create_database(name: &str) -> SecretString {
    let servers = SharedServers::get().await.expect("the servers start");
    servers.create_database(name).await.expect("the database is created").into()
}

/// Creates a database with the schema, and returns its URL.
async fn create_migrated_database(name: &str) -> SecretString {
    let url = create_database(name).await;
    mayfly_cold::migrations::run(&url, |_| {}).await.expect("the migrations succeed");
    url
}

/// Returns a message that expires in ten minutes.
fn message() -> Message {
    let json = r#"{"username":"kiran","city":"Oslo","state":"NO","text":"hi","ttl":600}"#;
    let new = NewMessage::from_json(json).expect("a valid message");
    new.accept(MessageId::from(Uuid::now_v7()), SystemClock.now())
}

/// Waits until a condition holds.
async fn wait_until(description: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(20), "timed out: {description}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
