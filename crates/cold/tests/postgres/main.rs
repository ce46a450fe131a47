//! The store on a real Postgres.

mod api_keys;
mod connections;
mod health;
mod ledger;
mod migrations;
mod samples;

use mayfly_stack::SharedServers;
use secrecy::SecretString;

/// Creates an empty database on the servers that all tests share, and returns its URL.
async fn create_database(name: &str) -> SecretString {
    let servers = SharedServers::get().await.expect("the servers start");
    servers.create_database(name).await.expect("the database is created").into()
}
