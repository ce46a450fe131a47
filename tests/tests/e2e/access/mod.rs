//! Access control with API keys and tokens.

mod auth_failures;
pub(crate) mod credentials;
mod data_loss;
mod idempotency;
mod limits;
mod lists;
mod matrix;
mod publishing;
mod reading;
mod revocation;
mod timing;

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, Setup, World, eventually};
use reqwest::{Client, RequestBuilder, redirect::Policy};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use self::credentials::{NewKey, create_keys, secret_file};

/// Returns a setup that requires credentials and accepts tokens signed with
/// [`credentials::SECRET`].
pub(crate) fn setup() -> Setup {
    Setup::new()
        .set("MAYFLY_AUTH__MODE", "keys")
        .set("MAYFLY_AUTH__SECRET_FILE", &secret_file().display().to_string())
}

/// Returns a stack that requires credentials, shared by all tests that use their own channels,
/// usernames and hosts.
pub(crate) async fn shared() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let setup = setup().set("MAYFLY_HTTP__BODY_TIMEOUT", "60s");
    setup.scale(Service::WsFanout, 1).share(&WORLD).await
}

/// Creates a client that does not follow redirects.
fn new_client() -> Client {
    let client = Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(30));
    client.build().expect("the client is built")
}

/// Sends a request with credentials.
async fn send(request: RequestBuilder, credentials: &str) -> ApiResponse {
    ApiResponse::send(request.bearer_auth(credentials)).await
}

/// Gets a path of `list-api`.
async fn get(world: &World, path: &str, credentials: &str) -> ApiResponse {
    send(world.http.get(world.list_url(path)), credentials).await
}

/// Posts JSON to `ingest-api`.
async fn post(world: &World, path: &str, body: &Value, credentials: &str) -> ApiResponse {
    send(world.http.post(world.ingest_url(path)).json(body), credentials).await
}

/// Posts a message and returns its ID.
async fn post_message(world: &World, message: &Value, credentials: &str) -> String {
    let response = post(world, "/v1/messages", message, credentials).await;
    let message = response.expect_status(202);
    message["id"].as_str().expect("the message has an ID").to_owned()
}

/// Creates a key with the scope `operate`.
pub(crate) async fn create_operator(world: &World) -> String {
    let key = NewKey { scopes: &["operate"], ..NewKey::default() };
    create_keys(world, &[key]).await.remove(0)
}

/// Waits until a message is stored in Postgres.
async fn wait_until_stored(world: &World, id: &str) {
    let stored = format!("SELECT count(*) FROM messages WHERE id = '{id}'");
    eventually(DEFAULT_TIMEOUT, "the message is stored", async || {
        match world.query_count(&stored).await {
            1 => Ok(()),
            count => Err(count),
        }
    })
    .await;
}

/// Returns a message on a channel, with a username if it is not empty.
fn message(channel: &str, username: &str, text: &str) -> Value {
    let username = if username.is_empty() { Value::Null } else { username.into() };
    json!({"channel": channel, "username": username, "text": text, "ttl": 600})
}
