//! A running Mayfly stack for a test, with clients and inspection helpers.

mod ledger;
mod loaded_credentials;
mod log_dump;
mod redis_keys;
mod setup;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mayfly_stack::{Service, Spec, Stack};
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;

pub use ledger::{LedgerSums, PERSISTENT_KEYS};
pub use redis_keys::{message_id, message_ids};
pub use setup::Setup;

use self::log_dump::LogDump;
use crate::ReverseProxy;

/// This timeout is long, since tests read whole streams while other tests use the machine.
const REDIS_RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the directory of the service binaries, an ancestor of the test executable's directory.
///
/// # Panics
/// If the services are not built.
#[must_use]
pub fn bin_dir() -> PathBuf {
    let test = std::env::current_exe().expect("the executable has a path");
    let dir = test.ancestors().find(|dir| dir.join("persist-worker").is_file());
    dir.map(Path::to_path_buf).expect("the services are built: run `make test`")
}

/// A running stack, which stops when the last clone of this is dropped.
#[derive(Clone)]
pub struct World {
    /// The processes.
    pub stack: Arc<Stack>,
    /// The specification that the stack was started with.
    pub spec: Spec,
    /// A client with pooled connections.
    pub http: Client,
    /// The prefix of the stack's Redis keys.
    pub prefix: String,
    /// The reverse proxy that receives all requests, if there is one.
    proxy: Option<Arc<ReverseProxy>>,
    _log_dump: LogDump,
    _root: Arc<TempDir>,
}

impl World {
    /// Returns a stack with default settings, shared by all tests that use their own channels and
    /// usernames.
    ///
    /// # Panics
    /// If the stack does not start.
    pub async fn shared() -> Self {
        static DEFAULT: OnceCell<World> = OnceCell::const_new();
        Setup::new().share(&DEFAULT).await
    }

    /// Returns a URL of the first instance of a service, or of the reverse proxy.
    ///
    /// # Panics
    /// If the service has no instance.
    #[must_use]
    pub fn url(&self, service: Service, path: &str) -> String {
        format!("{}{path}", self.urls(service).first().expect("the service has an address"))
    }

    /// Returns the base URLs of all instances of a service, or the base URL of the reverse proxy.
    #[must_use]
    pub fn urls(&self, service: Service) -> Vec<String> {
        match &self.proxy {
            Some(proxy) => vec![proxy.url.clone()],
            None => self.stack.env().urls(service),
        }
    }

    /// Returns a URL of `ingest-api`.
    #[must_use]
    pub fn ingest_url(&self, path: &str) -> String {
        self.url(Service::IngestApi, path)
    }

    /// Returns a URL of `list-api`.
    #[must_use]
    pub fn list_url(&self, path: &str) -> String {
        self.url(Service::ListApi, path)
    }

    /// Posts JSON to `ingest-api`.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.http.post(self.ingest_url(path)).json(body).send().await.expect("ingest-api responds")
    }

    /// Posts a message and returns the response body.
    ///
    /// # Panics
    /// If the message is not accepted.
    pub async fn post_message(&self, message: &Value) -> Value {
        let response = self.post("/v1/messages", message).await;
        assert_eq!(response.status(), 202, "{message}");
        response.json().await.expect("the response is JSON")
    }

    /// Gets a path of `list-api`. Returns the status and the JSON body, or null without a body.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        send(self.http.get(self.list_url(path))).await
    }

    /// Takes an inbox and returns its items.
    ///
    /// # Panics
    /// If the take fails.
    pub async fn take(&self, username: &str) -> Vec<Value> {
        let path = format!("/v1/users/{username}/messages/take");
        let (status, body) = send(self.http.post(self.list_url(&path))).await;
        assert_eq!(status, 200, "{body}");
        body["items"].as_array().cloned().expect("the response has `items`")
    }

    /// Lists all stored messages, page by page.
    ///
    /// # Panics
    /// If a page cannot be read.
    pub async fn list_all_messages(&self, limit: usize) -> Vec<Value> {
        self.list_messages_after(None, limit).await.0
    }

    /// Lists all messages that were stored after a cursor, page by page. Also returns the cursor at
    /// the end of the list, or `None` if no message is stored.
    ///
    /// # Panics
    /// If a page cannot be read.
    pub async fn list_messages_after(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> (Vec<Value>, Option<String>) {
        let mut all = Vec::new();
        let mut cursor = cursor.map(str::to_owned);
        loop {
            let query = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let (status, page) = self.get(&format!("/v1/messages?limit={limit}{query}")).await;
            assert_eq!(status, 200, "{page}");
            all.extend(page["items"].as_array().cloned().expect("the response has `items`"));
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if page["has_more"] == false {
                return (all, cursor);
            }
        }
    }

    /// Opens a connection to the stack's Redis.
    ///
    /// # Panics
    /// If Redis is unavailable.
    pub async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.stack.env().redis_url()).expect("a valid URL");
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(REDIS_RESPONSE_TIMEOUT));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        connecting.await.expect("Redis responds")
    }

    /// Returns the full name of one of the stack's Redis keys.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}:{{0}}:{name}", self.prefix)
    }

    /// Opens a connection to the stack's database.
    ///
    /// # Panics
    /// If Postgres is unavailable.
    pub async fn postgres(&self) -> tokio_postgres::Client {
        let env = self.stack.env();
        let (client, connection) =
            tokio_postgres::connect(env.database_url(), tokio_postgres::NoTls)
                .await
                .expect("Postgres responds");
        tokio::spawn(connection);
        client
    }

    /// Runs a query that returns one number.
    ///
    /// # Panics
    /// If the query fails.
    pub async fn query_count(&self, query: &str) -> i64 {
        self.postgres().await.query_one(query, &[]).await.expect("the query works").get(0)
    }
}

/// Sends a request. Returns the status and the JSON body, or null without a body.
async fn send(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("the service responds");
    let status = response.status().as_u16();
    let body = response.bytes().await.expect("the response is complete");
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}
