//! WebSocket upgrades: the opening handshake of RFC 6455, section 4.2.

use std::{io::Write, rc::Rc, sync::Arc, time::Duration};

use actix_http::{Request, h1::Codec, ws::hash_key};
use actix_web::{
    HttpMessage,
    http::{
        Method, StatusCode, Version,
        header::{
            CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue,
            SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, X_CONTENT_TYPE_OPTIONS,
        },
    },
    rt::net::TcpStream,
};
use bytes::{Bytes, BytesMut};
use mayfly_auth::Credentials;
use mayfly_runtime::{FailedRequest, FailureLog, Process, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::debug;

use crate::{
    ClientAddress, Code, Problem, RequestId, Traceparent,
    access::{
        check_host, find_credentials, find_forbidden_host, find_forbidden_origin,
        write_cors_headers,
    },
    connection::{Connection, ConnectionState},
    middleware::{UPGRADE_ROUTE, count_upgrade},
    request::{TRACEPARENT, X_REQUEST_ID},
    response::errors_url,
};

/// How long the server waits for a client to read the response.
const LINGER: Duration = Duration::from_secs(2);
/// The number of characters in a `Sec-WebSocket-Key` before its padding: 16 bytes in base64.
const KEY_CHARS: usize = 22;
/// The supported version of the WebSocket protocol.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// An upgrade request and its socket. The service must accept or reject the request.
pub struct UpgradeRequest {
    request: Request,
    socket: TcpStream,
    /// Bytes received after the request.
    received: BytesMut,
    /// Unwritten responses to earlier requests.
    unwritten: BytesMut,
    request_id: RequestId,
    traceparent: Traceparent,
    context: UpgradeContext,
}

/// The process data for upgrade requests, which do not pass through the middleware.
#[derive(Clone)]
pub(crate) struct UpgradeContext {
    settings: Arc<Settings>,
    errors_url: Arc<str>,
    failures: FailureLog,
}

impl UpgradeContext {
    pub(crate) fn new(process: &Process) -> Self {
        Self {
            settings: Arc::clone(&process.settings),
            errors_url: errors_url(process.service, &process.settings.public).into(),
            failures: process.failures.clone(),
        }
    }
}

/// A socket after the switch to the WebSocket protocol.
pub struct UpgradedSocket {
    /// The socket.
    pub socket: TcpStream,
    /// Bytes that the client has already sent.
    pub received: Bytes,
}

impl UpgradeRequest {
    pub(crate) fn new(
        request: Request,
        framed: actix_codec::Framed<Connection, Codec>,
        context: UpgradeContext,
    ) -> Self {
        let parts = framed.into_parts();
        let (socket, held) = parts.io.into_parts();
        let mut received = parts.read_buf;
        received.unsplit(held);
        let request_id = RequestId::from_headers(request.headers());
        let traceparent = Traceparent::from_headers(request.headers());
        Self {
            request,
            socket,
            received,
            unwritten: parts.write_buf,
            request_id,
            traceparent,
            context,
        }
    }

    /// Records that the request starts. Returns the problem to respond with if the connection
    /// rejects the request, or if the request is not a valid handshake and its host is not allowed.
    /// The handler must check the host of a valid handshake with [`Self::find_forbidden_host`].
    pub(crate) fn find_rejection(&self) -> Option<Problem> {
        let connection = self.request.conn_data::<Rc<ConnectionState>>();
        let rejection = connection.and_then(|connection| connection.begin_request());
        let hosts = &self.context.settings.http.allowed_hosts;
        let host = || check_host(self.request.uri(), self.request.headers(), hosts).err();
        rejection.or_else(|| host().filter(|_| self.validate().is_err()))
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

    /// Returns the credentials in the headers, or `None` if the headers contain none. The handler
    /// must authenticate the client, because upgrade requests do not pass through the middleware.
    ///
    /// # Errors
    /// Returns 401 `unauthorized` if the credentials are malformed.
    pub fn credentials(&self) -> Result<Option<Credentials<'_>>, Problem> {
        find_credentials(self.request.headers())
    }

    /// Returns the client that sent the request.
    pub fn client(&self) -> ClientAddress {
        let trusted = &self.context.settings.http.trusted_proxies;
        ClientAddress::from_parts(self.request.peer_addr(), self.request.headers(), trusted)
    }

    /// Returns the host if it is not allowed. The handler must send no data to such a client, and
    /// should report the host when it closes the WebSocket, because scripts cannot read the
    /// response to a rejected upgrade.
    pub fn find_forbidden_host(&self) -> Option<&str> {
        let hosts = &self.context.settings.http.allowed_hosts;
        find_forbidden_host(self.request.uri(), self.request.headers(), hosts)
    }

    /// Returns the origin if it is not allowed. Scripts cannot read the response to a rejected
    /// upgrade, so the handler should accept the upgrade and report the origin when it closes the
    /// WebSocket.
    pub fn find_forbidden_origin(&self) -> Option<String> {
        let origins = &self.context.settings.http.allowed_origins;
        find_forbidden_origin(self.request.headers(), origins)
    }

    /// Validates the handshake.
    ///
    /// # Errors
    /// Returns the problem to reject the request with.
    pub fn validate(&self) -> Result<(), Problem> {
        let headers = self.request.headers();
        if self.request.method() != Method::GET {
            return Err(Problem::new(Code::MethodNotAllowed).allow("GET, HEAD, OPTIONS"));
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
    /// Fails if the client has disconnected or does not read the response in time.
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
        // A copy, because the buffer of the received bytes may still contain the head.
        let received = Bytes::copy_from_slice(&self.received);
        Ok(UpgradedSocket { socket: self.socket, received })
    }

    /// Sends the problem and closes the connection. Errors are ignored, because the client may have
    /// disconnected.
    pub async fn reject(mut self, problem: Problem) {
        let status = problem.code().status();
        self.log_rejection(&problem);
        count_upgrade(status);
        let body = problem.write_body(self.request_id.as_str(), &self.context.errors_url);
        let mut headers = HeaderMap::new();
        problem.write_headers(&mut headers);
        let origins = &self.context.settings.http.allowed_origins;
        write_cors_headers(self.request.headers(), origins, &mut headers);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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
            // Closing a socket with unread data resets the connection, and the client might not
            // receive the response.
            let mut rest = [0; 1024];
            while self.socket.read(&mut rest).await? > 0 {}
            Ok::<(), std::io::Error>(())
        };
        let _ = tokio::time::timeout(LINGER, send).await;
    }

    fn log_rejection(&self, problem: &Problem) {
        let status = problem.code().status();
        let (request_id, traceparent) = (self.request_id.as_str(), self.traceparent.as_str());
        if status.is_server_error() {
            self.context.failures.record(&FailedRequest {
                route: UPGRADE_ROUTE,
                code: problem.code().as_str(),
                status: status.as_u16(),
                method: self.request.method().as_str(),
                path: self.request.path(),
                request_id,
                traceparent,
                cause: problem.cause(),
            });
        } else {
            debug!(
                request.id = request_id,
                trace.parent = traceparent,
                http.status = status.as_u16(),
                "upgrade rejected"
            );
        }
    }

    fn write_context(&self, head: &mut Vec<u8>) {
        write_header(head, &X_REQUEST_ID, &self.request_id.to_header());
        write_header(head, &TRACEPARENT, &self.traceparent.to_header());
    }
}

/// Returns the problem for a request without an upgrade or with an unsupported protocol version.
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
