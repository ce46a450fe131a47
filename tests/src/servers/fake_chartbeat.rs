//! A fake Chartbeat API. Tests configure the responses, and the server records every call.

use std::{
    collections::{HashMap, HashSet},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, http::StatusCode, web,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The paths of the two response formats.
const PATH_V1: &str = "/live/toppages/";
const PATH_V3: &str = "/live/toppages/v3/";

/// A server on its own port that stops when this is dropped.
///
/// It returns no pages for a host that was not configured, and accepts every key that is not
/// rejected.
pub struct FakeChartbeat {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: ServerHandle,
}

/// A received call.
#[derive(Debug, Clone)]
pub struct SourceCall {
    /// The time of the call.
    pub at: Instant,
    /// The raw path and query.
    pub target: String,
    /// The API key.
    pub apikey: String,
    /// The host.
    pub host: String,
    /// The maximum number of pages.
    pub limit: String,
}

/// The configured response for a host.
#[derive(Debug, Clone)]
pub struct SourceReply {
    /// The status code.
    pub status: u16,
    /// The body; if `None`, the pages of the host.
    pub body: Option<String>,
    /// Additional headers.
    pub headers: Vec<(String, String)>,
    /// The delay before the response.
    pub delay: Duration,
}

impl Default for SourceReply {
    /// Returns the pages of the host without delay.
    fn default() -> Self {
        Self { status: 200, body: None, headers: Vec::new(), delay: Duration::ZERO }
    }
}

impl SourceReply {
    /// Returns a response with this status and a meaningless body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, body: Some("no".into()), ..Self::default() }
    }

    /// Returns a 200 response with this body.
    #[must_use]
    pub fn body(body: &str) -> Self {
        Self { body: Some(body.into()), ..Self::default() }
    }

    /// Adds a delay.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

#[derive(Default)]
struct State {
    pages: HashMap<String, Vec<(String, i64)>>,
    replies: HashMap<String, SourceReply>,
    rejected: HashSet<String>,
    calls: Vec<SourceCall>,
}

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    apikey: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    limit: String,
}

impl FakeChartbeat {
    /// Starts a server.
    ///
    /// # Panics
    /// If the server does not start.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = web::Data::from(Arc::clone(&state));
        let (started, handle) = mpsc::channel();
        // On a separate thread, the server survives the runtime of the test that started it.
        thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new().app_data(shared.clone()).default_service(web::to(respond))
                });
                let server = server.workers(1).disable_signals();
                let server = server.listen(listener).expect("the server listens").run();
                started.send(server.handle()).expect("the receiver is alive");
                server.await.expect("the server does not fail");
            });
        });
        Self { address, state, server: handle.recv().expect("the server starts") }
    }

    /// Returns the value of `MAYFLY_RISING__CHARTBEAT_URL` for the first response format.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the value of `MAYFLY_RISING__CHARTBEAT_URL` for response format v3.
    #[must_use]
    pub fn url_v3(&self) -> String {
        format!("http://{}/live/toppages/v3", self.address)
    }

    /// Sets the pages of a host and their visitors. The title of a page is `Title of` its path.
    pub fn set_pages(&self, host: &str, pages: &[(&str, i64)]) {
        let pages = pages.iter().map(|(path, visitors)| ((*path).to_owned(), *visitors));
        self.state().pages.insert(host.to_owned(), pages.collect());
    }

    /// Sets the response for a host.
    pub fn set_reply(&self, host: &str, reply: SourceReply) {
        self.state().replies.insert(host.to_owned(), reply);
    }

    /// Rejects a key with 403.
    pub fn reject_key(&self, apikey: &str) {
        self.state().rejected.insert(apikey.to_owned());
    }

    /// Accepts a rejected key again.
    pub fn accept_key(&self, apikey: &str) {
        self.state().rejected.remove(apikey);
    }

    /// Returns the calls for a host, in order.
    #[must_use]
    pub fn calls(&self, host: &str) -> Vec<SourceCall> {
        self.state().calls.iter().filter(|call| call.host == host).cloned().collect()
    }

    /// Returns all calls, in order.
    #[must_use]
    pub fn all_calls(&self) -> Vec<SourceCall> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for FakeChartbeat {
    fn drop(&mut self) {
        // `stop` sends the request to stop immediately. The returned future only waits for the end.
        drop(self.server.stop(false));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn respond(
    request: HttpRequest,
    query: web::Query<Query>,
    state: web::Data<Mutex<State>>,
) -> HttpResponse {
    let Query { apikey, host, limit } = query.into_inner();
    let (reply, pages, is_rejected) = {
        let mut state = lock(&state);
        let target = request.uri().to_string();
        let call = SourceCall { at: Instant::now(), target, apikey, host, limit };
        let is_rejected = state.rejected.contains(&call.apikey);
        let reply = state.replies.get(&call.host).cloned().unwrap_or_default();
        let pages = state.pages.get(&call.host).cloned().unwrap_or_default();
        state.calls.push(call);
        (reply, pages, is_rejected)
    };
    tokio::time::sleep(reply.delay).await;
    let reply = if is_rejected { SourceReply::status(403) } else { reply };
    let body = match (reply.body, request.path()) {
        (Some(body), _) => body,
        (None, PATH_V1) => pages.iter().map(to_v1).collect::<Value>().to_string(),
        (None, PATH_V3) => json!({"pages": pages.iter().map(to_v3).collect::<Value>()}).to_string(),
        _ => return HttpResponse::NotFound().finish(),
    };
    let status = StatusCode::from_u16(reply.status).expect("a valid status code");
    let mut response = HttpResponse::build(status);
    response.content_type("application/json");
    for (name, value) in reply.headers {
        response.insert_header((name, value));
    }
    response.body(body)
}

fn to_v1((path, visitors): &(String, i64)) -> Value {
    json!({"i": format!("Title of {path}"), "path": path, "visitors": visitors})
}

fn to_v3((path, visitors): &(String, i64)) -> Value {
    let (title, stats) = (format!("Title of {path}"), json!({"people": visitors, "loyal": 0}));
    json!({"path": path, "title": title, "stats": stats, "sections": ["any"]})
}
