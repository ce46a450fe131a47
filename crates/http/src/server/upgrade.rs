//! WebSocket upgrades: the opening handshake of RFC 6455, section 4.2.

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
    Code, Problem, RequestId, Traceparent,
    middleware::count_upgrade,
    request::{TRACEPARENT, X_REQUEST_ID},
};

/// How long the server waits for a client to read the response.
const LINGER: Duration = Duration::from_secs(2);
/// Characters of a `Sec-WebSocket-Key` before its padding: 16 bytes in base64.
const KEY_CHARS: usize = 22;
/// The supported version of the protocol.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// An upgrade request with its socket, to be accepted or rejected.
pub struct UpgradeRequest {
    request: Request,
    socket: TcpStream,
    /// Bytes received after the request.
    received: BytesMut,
    /// Responses to earlier requests that are not yet written.
    unwritten: BytesMut,
    request_id: RequestId,
    traceparent: Traceparent,
}

/// A socket after the switch to the WebSocket protocol.
pub struct UpgradedSocket {
    /// The socket.
    pub socket: TcpStream,
    /// Bytes that the client has already sent.
    pub received: Bytes,
}

impl UpgradeRequest {
    pub(crate) fn new(request: Request, framed: actix_codec::Framed<TcpStream, Codec>) -> Self {
        let parts = framed.into_parts();
        let request_id = RequestId::from_headers(request.headers());
        let traceparent = Traceparent::from_headers(request.headers());
        Self {
            request,
            socket: parts.io,
            received: parts.read_buf,
            unwritten: parts.write_buf,
            request_id,
            traceparent,
        }
    }

    /// Returns the undecoded path.
    pub fn path(&self) -> &str {
        self.request.path()
    }

    /// Returns the undecoded query; empty if the request has none.
    pub fn query(&self) -> &str {
        self.request.uri().query().unwrap_or_default()
    }

    /// Returns the request ID.
    pub fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// Validates the handshake and the origin. A browser must send the same or an allowed origin; a
    /// request without `Origin` does not come from a browser.
    ///
    /// # Errors
    /// Returns the problem with which to reject the request.
    pub fn validate(&self, origins: &AllowedOrigins) -> Result<(), Problem> {
        let headers = self.request.headers();
        if self.request.method() != Method::GET {
            return Err(Problem::new(Code::MethodNotAllowed).allow("GET, HEAD, OPTIONS"));
        }
        if !is_origin_allowed(headers, origins) {
            return Err(Problem::new(Code::Forbidden)
                .detail("The origin is not allowed: add it to MAYFLY_HTTP__ALLOWED_ORIGINS."));
        }
        let head = self.request.head();
        let is_upgrade = head.upgrade() && head.version == Version::HTTP_11;
        if !is_upgrade || headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
            return Err(upgrade_required());
        }
        if !headers.get(SEC_WEBSOCKET_KEY).is_some_and(|key| is_valid_key(key.as_bytes())) {
            let rule = "must be 16 bytes in base64";
            return Err(Problem::new(Code::InvalidField).field("Sec-WebSocket-Key", rule));
        }
        Ok(())
    }

    /// Accepts the upgrade and returns the socket.
    ///
    /// # Errors
    /// Fails if the client has disconnected.
    pub async fn accept(mut self) -> std::io::Result<UpgradedSocket> {
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
        let response = [&self.unwritten, head.as_slice()].concat();
        count_upgrade(StatusCode::SWITCHING_PROTOCOLS);
        tokio::time::timeout(LINGER, self.socket.write_all(&response)).await??;
        Ok(UpgradedSocket { socket: self.socket, received: self.received.freeze() })
    }

    /// Sends the problem and closes the connection. Errors are ignored: the client may have
    /// disconnected.
    pub async fn reject(mut self, problem: Problem) {
        let status = problem.code().status();
        debug!(
            request.id = self.request_id.as_str(),
            http.status = status.as_u16(),
            "upgrade rejected"
        );
        count_upgrade(status);
        let body = problem.write_body(self.request_id.as_str());
        let mut headers = HeaderMap::new();
        problem.write_headers(&mut headers);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut response = self.unwritten.to_vec();
        response.extend_from_slice(format!("HTTP/1.1 {status}\r\n").as_bytes());
        for (name, value) in &headers {
            write_header(&mut response, name, value);
        }
        self.write_context(&mut response);
        response.extend_from_slice(b"\r\n");
        response.extend_from_slice(&body);
        let send = async {
            self.socket.write_all(&response).await?;
            self.socket.shutdown().await?;
            // Unread data would cause a reset, and the client would not receive the response.
            let mut rest = [0; 1024];
            while self.socket.read(&mut rest).await? > 0 {}
            Ok::<(), std::io::Error>(())
        };
        let _ = tokio::time::timeout(LINGER, send).await;
    }

    fn write_context(&self, head: &mut Vec<u8>) {
        write_header(head, &X_REQUEST_ID, &self.request_id.to_header());
        write_header(head, &TRACEPARENT, &self.traceparent.to_header());
    }
}

/// Returns the problem for a request without an upgrade, or for another version of the protocol.
pub fn upgrade_required() -> Problem {
    Problem::new(Code::UpgradeRequired)
        .header(UPGRADE, HeaderValue::from_static("websocket"))
        .header(SEC_WEBSOCKET_VERSION, VERSION)
}

/// Returns whether the key is 16 bytes in base64.
fn is_valid_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    key.strip_suffix(b"==").is_some_and(|key| key.len() == KEY_CHARS && key.iter().all(is_base64))
}

fn write_header(head: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    // Writing into a Vec cannot fail.
    let _ = write!(head, "{name}: ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// Returns whether `Origin` is missing, the same origin (host and port), or allowed.
fn is_origin_allowed(headers: &HeaderMap, origins: &AllowedOrigins) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let is_same =
        authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host));
    is_same || origins.allows(origin)
}
