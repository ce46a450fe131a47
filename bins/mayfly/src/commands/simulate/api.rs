//! Requests to the instances of a service, one after the other.
//!
//! The client is that of hyper-util: what larger clients are made of, in the tree anyway, and without
//! TLS, which nothing beside the services needs.

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Request, Response, StatusCode, Uri, body::Incoming};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::output::remark;

/// How long one answer is waited for; services give up after 10 s themselves.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How long a request that a service cannot take now is tried again, all in all.
const PATIENCE: Duration = Duration::from_secs(30);
/// The least pause; also where a service does not say how long, and where it is not there.
const PAUSE: Duration = Duration::from_secs(1);
/// More than any answer has: a page is 4 MiB of items.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How much is shown of an answer that is no problem document.
const SHOWN_CHARS: usize = 200;

/// A service that may have several instances.
#[derive(Debug)]
pub(super) struct Api {
    client: Client<HttpConnector, Full<Bytes>>,
    urls: Vec<String>,
    turn: usize,
    /// How long was waited because a service asked for it, or was not there.
    pub(super) waited: Duration,
    /// Nothing more is tried again once this is cancelled; what was sent is still waited for.
    pub(super) stopping: CancellationToken,
    /// The kinds of failure that were remarked on.
    remarked: HashSet<Kind>,
}

/// An answer with 2xx.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    /// From sending until the last byte, without what was waited before.
    pub(super) took: Duration,
}

/// What makes two failures the same to who reads of them: status and code; none where no answer came.
type Kind = Option<(StatusCode, String)>;

/// Why there is no such answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The service cannot take it now.
    Busy { status: StatusCode, code: String, words: String, retry_after: Duration },
    /// The service does not take it.
    Refused { status: StatusCode, words: String },
    /// Nobody was there to get it.
    Unreached(String),
    /// It was sent; what became of it nobody knows.
    Unanswered(String),
}

impl Failure {
    /// How long to wait until it may be sent again; none where it may not. Without a key, what got no answer might be
    /// done twice.
    fn pause(&self, has_key: bool) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => Some(*retry_after),
            Self::Unreached(_) => Some(PAUSE),
            Self::Unanswered(_) => has_key.then_some(PAUSE),
            Self::Refused { .. } => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Busy { status, code, .. } => Some((*status, code.clone())),
            Self::Refused { .. } | Self::Unreached(_) | Self::Unanswered(_) => None,
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { status, words, .. } | Self::Refused { status, words } => {
                write!(f, "answered {}: {words}", status.as_u16())
            }
            Self::Unreached(why) => write!(f, "not reached: {why}"),
            Self::Unanswered(why) => write!(f, "no answer: {why}"),
        }
    }
}

/// What is read of a problem document.
#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
}

impl Api {
    pub(super) fn new(urls: Vec<String>) -> Result<Self> {
        for url in &urls {
            let is_plain = url.strip_prefix("http://").is_some_and(|rest| !rest.is_empty());
            ensure!(is_plain && url.parse::<Uri>().is_ok(), "{url:?} is no URL with http://");
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self {
            client,
            urls,
            turn: 0,
            waited: Duration::ZERO,
            stopping: CancellationToken::new(),
            remarked: HashSet::new(),
        })
    }

    /// Posts JSON, a GET where there is none, and tries again as long as that makes sense.
    pub(super) async fn ask(&mut self, path: &str, json: Option<Bytes>) -> Result<Answer, Failure> {
        self.ask_under(None, path, json).await
    }

    /// Posts JSON under a key of its own, by which the service does it once, however often it is sent. It is tried
    /// again also when nobody knows what became of it: a 503 may be about an answer of Redis that was lost.
    pub(super) async fn post_once(&mut self, path: &str, json: Bytes) -> Result<Answer, Failure> {
        let key = Uuid::now_v7().to_string();
        self.ask_under(Some(&key), path, Some(json)).await
    }

    async fn ask_under(
        &mut self,
        key: Option<&str>,
        path: &str,
        json: Option<Bytes>,
    ) -> Result<Answer, Failure> {
        let began = Instant::now();
        loop {
            let failure = match self.send(key, path, json.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let pause = failure.pause(key.is_some());
            let pause = pause.filter(|pause| began.elapsed() + *pause <= PATIENCE);
            let Some(pause) = pause else { return Err(failure) };
            if self.stopping.is_cancelled() {
                return Err(failure);
            }
            if self.remarked.insert(failure.kind()) {
                remark(&format!("{failure}; waiting for the service, {PATIENCE:?} at most"));
            }
            let paused = Instant::now();
            let stopped = self.stopping.run_until_cancelled(sleep(pause)).await.is_none();
            self.waited += paused.elapsed();
            if stopped {
                return Err(failure);
            }
        }
    }

    async fn send(
        &mut self,
        key: Option<&str>,
        path: &str,
        json: Option<Bytes>,
    ) -> Result<Answer, Failure> {
        let url = &self.urls[self.turn % self.urls.len()];
        self.turn += 1;
        let request = match &json {
            Some(_) => {
                Request::post(format!("{url}{path}")).header(CONTENT_TYPE, "application/json")
            }
            None => Request::get(format!("{url}{path}")),
        };
        let request = match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        let request = request.body(json.map(Full::new).unwrap_or_default());
        let request = request.map_err(|error| Failure::Unreached(error.to_string()))?;
        let sent = Instant::now();
        let answered = timeout(ANSWER_WITHIN, async {
            let answer = self.client.request(request).await.map_err(|error| {
                let is_connect = error.is_connect();
                // With what is behind it: the outer one only says that there is one.
                let words = format!("{url}: {:#}", anyhow::Error::new(error));
                if is_connect { Failure::Unreached(words) } else { Failure::Unanswered(words) }
            })?;
            read(answer, sent).await
        });
        answered.await.unwrap_or_else(|_| {
            Err(Failure::Unanswered(format!("{url}: nothing within {ANSWER_WITHIN:?}")))
        })
    }
}

async fn read(answer: Response<Incoming>, sent: Instant) -> Result<Answer, Failure> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Failure::Unanswered(error.to_string()))?.to_bytes();
    let status = head.status;
    if status.is_success() {
        return Ok(Answer { body, took: sent.elapsed() });
    }
    let problem = serde_json::from_slice::<Problem>(&body).ok();
    let words: String = match &problem {
        Some(problem) => format!("{} {}", problem.code, problem.detail),
        None => String::from_utf8_lossy(&body).chars().take(SHOWN_CHARS).collect(),
    };
    let code = problem.map(|problem| problem.code).unwrap_or_default();
    // What a server says goes to a terminal.
    let words = words.chars().filter(|letter| !letter.is_control()).collect();
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        let after =
            head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = after.map_or(PAUSE, Duration::from_secs).max(PAUSE);
        return Err(Failure::Busy { status, code, words, retry_after });
    }
    Err(Failure::Refused { status, words })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Takes a request a connection, each with one answer, and gives their keys; an empty answer only hangs up.
    async fn serve(listener: TcpListener, answers: &[&str]) -> Vec<Option<String>> {
        let mut keys = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n{}") {
                assert!(stream.read_buf(&mut request).await.expect("bytes") > 0);
            }
            let request = String::from_utf8(request).expect("it is text");
            let key = request.lines().find_map(|line| line.strip_prefix("idempotency-key: "));
            keys.push(key.map(str::to_owned));
            stream.write_all(answer.as_bytes()).await.expect("it is sent");
        }
        keys
    }

    #[tokio::test]
    async fn what_has_a_key_is_sent_again_under_it_and_nothing_else_is() {
        const DONE: &str =
            "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(serve(listener, &["", DONE, ""]));
        let mut api = Api::new(vec![url]).expect("it is a URL");
        let json = Bytes::from_static(b"{}");
        api.post_once("/", json.clone()).await.expect("it is done at the second try");
        let failure = api.ask("/", Some(json)).await.expect_err("nobody knows");
        assert!(matches!(failure, Failure::Unanswered(_)), "{failure:?}");
        let keys = serving.await.expect("it has served");
        assert!(keys[0].is_some() && keys[0] == keys[1] && keys[2].is_none(), "{keys:?}");
    }
}
