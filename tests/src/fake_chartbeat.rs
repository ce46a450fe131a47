//! A service that answers like Chartbeat, as a test tells it to, and remembers every call.

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

/// Where the two forms are asked for.
const FIRST: &str = "/live/toppages/";
const THIRD: &str = "/live/toppages/v3/";

/// A fake source of visitors on a port of its own. It ends when this is dropped.
///
/// A host that nothing was said of has no pages: `[]`. Every key is accepted but those that are
/// refused.
pub struct FakeChartbeat {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: ServerHandle,
}

/// A call as it came.
#[derive(Debug, Clone)]
pub struct SourceCall {
    /// When.
    pub at: Instant,
    /// Path and query, as they were sent.
    pub target: String,
    /// The key.
    pub apikey: String,
    /// The host.
    pub host: String,
    /// How many pages at most.
    pub limit: String,
}

/// What the source answers for a host.
#[derive(Debug, Clone)]
pub struct SourceReply {
    /// The status.
    pub status: u16,
    /// The body; where there is none, the pages that were set.
    pub body: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// How long the answer takes.
    pub delay: Duration,
}

impl Default for SourceReply {
    /// The pages that were set, at once.
    fn default() -> Self {
        Self { status: 200, body: None, headers: Vec::new(), delay: Duration::ZERO }
    }
}

impl SourceReply {
    /// An answer of this status, which says nothing.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, body: Some("no".into()), ..Self::default() }
    }

    /// An answer of 200 with this body.
    #[must_use]
    pub fn body(body: &str) -> Self {
        Self { body: Some(body.into()), ..Self::default() }
    }

    /// The same after this time.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same with this header.
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
    refused: HashSet<String>,
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
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = web::Data::from(Arc::clone(&state));
        let (started, handle) = mpsc::channel();
        // On a thread of its own, so that tests one after the other can share it.
        thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new().app_data(shared.clone()).default_service(web::to(answer))
                });
                let server = server.workers(1).disable_signals();
                let server = server.listen(listener).expect("it listens").run();
                started.send(server.handle()).expect("who starts it waits");
                server.await.expect("it serves");
            });
        });
        Self { address, state, server: handle.recv().expect("it starts") }
    }

    /// What `MAYFLY_RISING__CHARTBEAT_URL` is for its first form.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What `MAYFLY_RISING__CHARTBEAT_URL` is for its third form.
    #[must_use]
    pub fn url_v3(&self) -> String {
        format!("http://{}/live/toppages/v3", self.address)
    }

    /// The visitors of the pages of a host from now on; the title of each is `Title of` its path.
    pub fn set_pages(&self, host: &str, pages: &[(&str, i64)]) {
        let pages = pages.iter().map(|(path, visitors)| ((*path).to_owned(), *visitors));
        self.state().pages.insert(host.to_owned(), pages.collect());
    }

    /// What is answered for a host from now on.
    pub fn set_reply(&self, host: &str, reply: SourceReply) {
        self.state().replies.insert(host.to_owned(), reply);
    }

    /// Refuses a key from now on: 403.
    pub fn refuse_key(&self, apikey: &str) {
        self.state().refused.insert(apikey.to_owned());
    }

    /// Takes a key again from now on.
    pub fn accept_key(&self, apikey: &str) {
        self.state().refused.remove(apikey);
    }

    /// The calls for a host, in their order.
    #[must_use]
    pub fn calls(&self, host: &str) -> Vec<SourceCall> {
        self.state().calls.iter().filter(|call| call.host == host).cloned().collect()
    }

    /// All calls, in their order.
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
        // It is told at once; nobody waits for the end.
        drop(self.server.stop(false));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    request: HttpRequest,
    query: web::Query<Query>,
    state: web::Data<Mutex<State>>,
) -> HttpResponse {
    let Query { apikey, host, limit } = query.into_inner();
    let (reply, pages, is_refused) = {
        let mut state = lock(&state);
        let target = request.uri().to_string();
        let call = SourceCall { at: Instant::now(), target, apikey, host, limit };
        let is_refused = state.refused.contains(&call.apikey);
        let reply = state.replies.get(&call.host).cloned().unwrap_or_default();
        let pages = state.pages.get(&call.host).cloned().unwrap_or_default();
        state.calls.push(call);
        (reply, pages, is_refused)
    };
    tokio::time::sleep(reply.delay).await;
    let reply = if is_refused { SourceReply::status(403) } else { reply };
    let body = match (reply.body, request.path()) {
        (Some(body), _) => body,
        (None, FIRST) => pages.iter().map(to_first).collect::<Value>().to_string(),
        (None, THIRD) => {
            json!({"pages": pages.iter().map(to_third).collect::<Value>()}).to_string()
        }
        _ => return HttpResponse::NotFound().finish(),
    };
    let status = StatusCode::from_u16(reply.status).expect("a test answers with a status");
    let mut answer = HttpResponse::build(status);
    answer.content_type("application/json");
    for (name, value) in reply.headers {
        answer.insert_header((name, value));
    }
    answer.body(body)
}

fn to_first((path, visitors): &(String, i64)) -> Value {
    json!({"i": format!("Title of {path}"), "path": path, "visitors": visitors})
}

fn to_third((path, visitors): &(String, i64)) -> Value {
    let (title, stats) = (format!("Title of {path}"), json!({"people": visitors, "loyal": 0}));
    json!({"path": path, "title": title, "stats": stats, "sections": ["any"]})
}
