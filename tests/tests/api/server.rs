//! A test server with a few routes.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use mayfly_authenticator::Authenticator;
use mayfly_hot::HotStore;
use mayfly_http::{
    BoundListener, CallerIdentity, Code, Docs, Endpoint, Integer, NoQuery, Problem, Query,
    RequestId, StaticFile, Traceparent, UnreadBody, resource,
    routes::{self, Route},
    serve,
};
use mayfly_runtime::{Process, Service, Settings};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
};

/// Timeout for every wait.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A running server.
pub struct TestServer {
    pub address: SocketAddr,
    pub process: Process,
    pub client: reqwest::Client,
    /// Receives a permit for every request to `/slow` that has started.
    pub started: Arc<Semaphore>,
    /// Each permit that a test adds completes one request to `/slow`.
    pub finish: Arc<Semaphore>,
    /// Receives a permit whenever a response body from `/held` is released.
    pub released: Arc<Semaphore>,
    running: JoinHandle<anyhow::Result<()>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Parameters {
    limit: Option<u16>,
    order: Option<Order>,
    username: Option<String>,
    #[serde(default)]
    channel: Vec<String>,
    #[serde(default, skip_serializing)]
    size: Option<Integer<1, 1000>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Asc,
    Desc,
}

#[derive(Clone)]
struct SlowGate {
    started: Arc<Semaphore>,
    finish: Arc<Semaphore>,
    released: Arc<Semaphore>,
}

/// Starts a server with the test settings and `env`.
pub async fn start(env: &[(&str, &str)]) -> TestServer {
    start_as(Service::ListApi, env).await
}

/// Starts a server as `service`.
pub async fn start_as(service: Service, env: &[(&str, &str)]) -> TestServer {
    let process = Process::new(service, settings(env));
    let server = BoundListener::bind(process.settings.http.listen).expect("a free port");
    let address = server.address();
    let closed = || Arc::new(Semaphore::new(0));
    let gate = SlowGate { started: closed(), finish: closed(), released: closed() };
    let SlowGate { started, finish, released } = gate.clone();
    let authenticator = authenticator(&process);
    let running = tokio::spawn({
        let process = process.clone();
        async move {
            serve(server, &process, authenticator, move |config| configure(config, &gate)).await
        }
    });
    TestServer { address, process, client: client(), started, finish, released, running }
}

/// Starts the authenticator of a process.
pub fn authenticator(process: &Process) -> Arc<Authenticator> {
    let hot = HotStore::new(&process.settings.redis).expect("a valid URL");
    Authenticator::start(&hot, &process.settings, &process.health)
}

/// Creates an endpoint for a path that requires no credentials.
pub fn public(path: &'static str) -> Endpoint {
    resource(&Route::public(path, "GET, HEAD, POST, OPTIONS"))
}

/// Returns test settings (free ports, no drain delay, one worker, no Redis, no credentials), which
/// `env` can override.
pub fn settings(env: &[(&str, &str)]) -> Settings {
    let defaults = [
        ("MAYFLY_HTTP__LISTEN", "127.0.0.1:0"),
        ("MAYFLY_ADMIN__LISTEN", "127.0.0.1:0"),
        ("MAYFLY_HTTP__DRAIN_DELAY", "0s"),
        ("MAYFLY_HTTP__WORKERS", "1"),
        ("MAYFLY_AUTH__MODE", "open"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
    ];
    let all =
        defaults.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::from_layers(None, all).expect("valid settings")
}

/// Creates a client that does not follow redirects.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .expect("a client")
}

impl TestServer {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path))
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(self.url(path))
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().expect("a method"), self.url(path))
    }

    /// Opens a new connection.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Waits until the server has stopped.
    pub async fn wait_for_exit(self) -> anyhow::Result<()> {
        tokio::time::timeout(TIMEOUT, self.running)
            .await
            .expect("the server stops")
            .expect("no panic")
    }
}

/// Writes to a connection and reads until the server closes it.
pub async fn exchange(connection: &mut TcpStream, text: &str) -> String {
    connection.write_all(text.as_bytes()).await.expect("the request is written");
    read_to_end(connection).await
}

/// Reads until the server closes the connection. A reset fails the test.
pub async fn read_to_end(connection: &mut TcpStream) -> String {
    let mut response = Vec::new();
    tokio::time::timeout(TIMEOUT, connection.read_to_end(&mut response))
        .await
        .expect("the connection closes")
        .expect("no reset");
    String::from_utf8_lossy(&response).into_owned()
}

/// Reads until `end` has been received.
pub async fn read_until(connection: &mut TcpStream, end: &str) -> String {
    let mut response = String::new();
    let mut chunk = [0; 4096];
    while !response.contains(end) {
        let read = tokio::time::timeout(TIMEOUT, connection.read(&mut chunk))
            .await
            .expect("in time")
            .expect("no reset");
        assert_ne!(read, 0, "closed after {response:?}");
        response.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    response
}

/// Parses a problem and checks the members that all problems have.
pub async fn problem(response: reqwest::Response) -> serde_json::Value {
    let status = response.status();
    let header = |name: &str| {
        response.headers().get(name).map(|value| value.to_str().expect("text").to_owned())
    };
    assert_eq!(header("content-type").as_deref(), Some("application/problem+json"), "{status}");
    let request_id = header("x-request-id").expect("a request id");
    let problem: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["instance"], format!("urn:mayfly:request:{request_id}"));
    let fragment = format!("/docs/errors#{}", problem["code"].as_str().expect("a code"));
    assert!(problem["type"].as_str().is_some_and(|url| url.ends_with(&fragment)), "{problem}");
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    problem
}

fn configure(config: &mut web::ServiceConfig, gate: &SlowGate) {
    let gate = gate.clone();
    let files = vec![
        StaticFile::new("/docs", "text/html", "x".repeat(2_000))
            .header("referrer-policy", "no-referrer"),
        StaticFile::new("/document", "application/json", "{}").reject_query(),
    ];
    let operation = ("/query".to_owned(), "#/queries/run_query".to_owned());
    Docs::new(files, "/docs").operations([operation]).configure(config);
    let released = Arc::clone(&gate.released);
    config
        .service(
            public("/plain")
                .get(async |_: NoQuery| "plain")
                .post(async |body: UnreadBody| body.read_json().await.map(|body| body.bytes)),
        )
        .service(public("/documents").body_limit(1000).post(post_documents))
        .service(public("/form").post(async |form: UnreadBody| {
            form.read_form().await?.parse_form::<Parameters>().map(web::Json)
        }))
        .service(
            public("/message/write").get_without_head(async || "written").post(async || "written"),
        )
        .service(public("/v1/messages/{id}").get(async || "a message"))
        .service(public("/query").get(async |Query(parameters): Query<Parameters>| {
            let size = parameters.size.map_or(0, Integer::get);
            HttpResponse::Ok().insert_header(("x-size", size)).json(parameters)
        }))
        .service(public("/ids").get(async |id: RequestId, trace: Traceparent| {
            format!("{} {}", id.as_str(), trace.as_str())
        }))
        .service(public("/text/{bytes}").get(async |bytes: web::Path<usize>| "x".repeat(*bytes)))
        .service(public("/stream").get(async || {
            let pieces = ["a ", "stream"].map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
            HttpResponse::Ok().streaming(stream::iter(pieces))
        }))
        .service(public("/held/{bytes}").get(move |bytes: web::Path<usize>| {
            let body = Held { bytes: vec![b'x'; *bytes], released: Arc::clone(&released) };
            async move { HttpResponse::Ok().body(Bytes::from_owner(body)) }
        }))
        .service(
            public("/beacon").post(async |body: UnreadBody| {
                body.read_json_or_beacon().await.map(|body| body.bytes)
            }),
        )
        .service(
            resource(&routes::MESSAGES)
                .get(async |caller: CallerIdentity| format!("{:?}", caller.identity()))
                .post(async |body: UnreadBody| body.read_json().await.map(|body| body.bytes)),
        )
        .service(
            resource(&routes::EVENTS)
                .get(async |caller: CallerIdentity| format!("{:?}", caller.identity())),
        )
        .service(public("/list").get(get_list))
        .service(public("/problem/{code}").get(get_problem))
        .service(public("/stuck").get(async || std::future::pending::<HttpResponse>().await))
        .service(public("/slow").get(move || respond_slowly(gate.clone())));
}

async fn post_documents(body: UnreadBody) -> Result<String, Problem> {
    let (format, body) = body.read_json_or_ndjson().await?;
    Ok(format!("{format:?} {}", body.bytes.len()))
}

async fn get_problem(code: web::Path<String>) -> Result<HttpResponse, Problem> {
    let code = Code::ALL.into_iter().find(|known| known.as_str() == code.as_str());
    Err(Problem::new(code.unwrap_or(Code::NotFound)).caused_by("an internal secret"))
}

/// Returns a list with a next page and a text that contains HTML markup.
async fn get_list() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("link", "</list?cursor=2>; rel=\"next\""))
        .content_type("application/json")
        .body(r#"{"items":[{"text":"<script>alert(1)</script>"}],"has_more":true}"#)
}

/// A body that reports when it is released.
struct Held {
    bytes: Vec<u8>,
    released: Arc<Semaphore>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.released.add_permits(1);
    }
}

async fn respond_slowly(gate: SlowGate) -> &'static str {
    gate.started.add_permits(1);
    gate.finish.acquire().await.expect("the semaphore is open").forget();
    "slow"
}
