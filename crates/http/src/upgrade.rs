//! Leaving HTTP for a WebSocket: the opening handshake of RFC 6455, section 4.2.

use std::{io::Write, time::Duration};

use actix_http::{Request, h1::Codec, ws::hash_key};
use actix_web::{
    HttpMessage,
    http::{
        Method, StatusCode, Version,
        header::{
            CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue,
            ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
        },
    },
    rt::net::TcpStream,
};
use bytes::{Bytes, BytesMut};
use mayfly_runtime::AllowedOrigins;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::debug;

use crate::{
    Code, Problem, RequestId, Traceparent, middleware::count_upgrade, request_id::X_REQUEST_ID,
    trace_parent::TRACEPARENT,
};

/// How long a client may take to read how it is answered.
const LINGER: Duration = Duration::from_secs(2);
/// Characters of a `Sec-WebSocket-Key` before its padding: 16 bytes in base64.
const KEY_CHARS: usize = 22;
/// The one version of the protocol.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// A request to upgrade, with its socket: it is to be accepted or refused.
pub struct UpgradeRequest {
    request: Request,
    socket: TcpStream,
    /// What the client sent behind its request.
    received: BytesMut,
    /// Answers to requests before it that are not yet written.
    unwritten: BytesMut,
    request_id: RequestId,
    traceparent: Traceparent,
}

/// A socket that speaks WebSocket from now on.
pub struct Switched {
    /// The socket.
    pub socket: TcpStream,
    /// What the client has sent already.
    pub received: Bytes,
}

impl UpgradeRequest {
    pub(crate) fn new(request: Request, framed: actix_codec::Framed<TcpStream, Codec>) -> Self {
        let parts = framed.into_parts();
        let request_id = RequestId::take_or_make(request.headers());
        let traceparent = Traceparent::take_or_make(request.headers());
        Self {
            request,
            socket: parts.io,
            received: parts.read_buf,
            unwritten: parts.write_buf,
            request_id,
            traceparent,
        }
    }

    /// The path, as it was sent.
    pub fn path(&self) -> &str {
        self.request.path()
    }

    /// The query, as it was sent; empty if there is none.
    pub fn query(&self) -> &str {
        self.request.uri().query().unwrap_or_default()
    }

    /// The id of the request.
    pub fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// Checks everything that must be right before a socket is taken over: the handshake itself, and that a page that
    /// asks for it is of the same origin or an allowed one. Who sends no `Origin` is no browser.
    ///
    /// # Errors
    /// What to refuse it with.
    pub fn check(&self, origins: &AllowedOrigins) -> Result<(), Problem> {
        let headers = self.request.headers();
        if self.request.method() != Method::GET {
            return Err(Problem::new(Code::MethodNotAllowed).allow("GET, HEAD, OPTIONS"));
        }
        if !may_call(headers, origins) {
            return Err(Problem::new(Code::Forbidden).detail("This origin may not call."));
        }
        let head = self.request.head();
        let asks = head.upgrade() && head.version == Version::HTTP_11;
        if !asks || headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
            return Err(upgrade_required());
        }
        if !headers.get(SEC_WEBSOCKET_KEY).is_some_and(|key| is_key(key.as_bytes())) {
            let rule = "must be 16 bytes in base64";
            return Err(Problem::new(Code::InvalidField).field("Sec-WebSocket-Key", rule));
        }
        Ok(())
    }

    /// Takes the socket over.
    ///
    /// # Errors
    /// If the client is gone.
    pub async fn accept(mut self) -> std::io::Result<Switched> {
        let key = self.request.headers().get(SEC_WEBSOCKET_KEY);
        let accept = hash_key(key.map_or(&[][..], HeaderValue::as_bytes));
        let mut head = b"HTTP/1.1 101 Switching Protocols\r\n\
            upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
            .to_vec();
        head.extend_from_slice(&accept);
        head.extend_from_slice(b"\r\n");
        write_header(&mut head, &CACHE_CONTROL, &HeaderValue::from_static("no-store"));
        self.write_context(&mut head);
        head.extend_from_slice(b"\r\n");
        let answer = [&self.unwritten, head.as_slice()].concat();
        count_upgrade(StatusCode::SWITCHING_PROTOCOLS);
        tokio::time::timeout(LINGER, self.socket.write_all(&answer)).await??;
        Ok(Switched { socket: self.socket, received: self.received.freeze() })
    }

    /// Says why not, and closes the connection. A client that is gone meanwhile is told nothing.
    pub async fn refuse(mut self, problem: Problem) {
        let status = problem.code().status();
        debug!(request.id = self.request_id.as_str(), http.status = status.as_u16(), "refused");
        count_upgrade(status);
        let body = problem.write_body(self.request_id.as_str());
        let mut headers = HeaderMap::new();
        problem.write_headers(&mut headers);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut answer = self.unwritten.to_vec();
        answer.extend_from_slice(format!("HTTP/1.1 {status}\r\n").as_bytes());
        for (name, value) in &headers {
            write_header(&mut answer, name, value);
        }
        self.write_context(&mut answer);
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&body);
        let told = async {
            self.socket.write_all(&answer).await?;
            self.socket.shutdown().await?;
            // Read on, so that the client finds the answer and not a reset.
            let mut rest = [0; 1024];
            while self.socket.read(&mut rest).await? > 0 {}
            Ok::<(), std::io::Error>(())
        };
        let _ = tokio::time::timeout(LINGER, told).await;
    }

    fn write_context(&self, head: &mut Vec<u8>) {
        write_header(head, &X_REQUEST_ID, &self.request_id.header());
        write_header(head, &TRACEPARENT, &self.traceparent.header());
    }
}

/// 426: what to say to who asks without an upgrade, or for another version of the protocol.
pub fn upgrade_required() -> Problem {
    Problem::new(Code::UpgradeRequired)
        .header(UPGRADE, HeaderValue::from_static("websocket"))
        .header(SEC_WEBSOCKET_VERSION, VERSION)
}

/// Whether this is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    key.strip_suffix(b"==").is_some_and(|key| key.len() == KEY_CHARS && key.iter().all(plain))
}

fn write_header(head: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    // Writing into a Vec cannot fail.
    let _ = write!(head, "{name}: ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// Whether the page that calls may: none, one of the same host and port, or an allowed one.
fn may_call(headers: &HeaderMap, origins: &AllowedOrigins) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").map(|(_, authority)| authority);
    let same = own.zip(host).is_some_and(|(own, host)| own.eq_ignore_ascii_case(host));
    same || origins.allows(origin)
}
