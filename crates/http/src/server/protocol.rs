//! HTTP/1.1 on the connections of a server.

use std::{
    future::{Ready, ready},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_http::{HttpServiceBuilder, Request, Response, error::DispatchError};
use actix_server::{GracefulShutdownSignal, ServerBuilder};
use actix_service::{Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    Error,
    body::BoxBody,
    dev::{AppConfig, ServiceResponse},
    http::KeepAlive,
    rt::net::TcpStream,
};
use mayfly_runtime::settings::HttpSettings;

use super::{ConnectionHandle, LINGER};
use crate::{
    connection::{Connection, ConnectionTimeouts, UnreadResponses},
    request::BodyBudget,
};

/// Additional time that the HTTP library waits for the head of the first request, so that the
/// connection can reject a late head with a problem before the library does.
const HEAD_MARGIN: Duration = Duration::from_secs(1);

/// Maximum number of unsent bytes that the kernel buffers for a connection while the client does
/// not read. Without this limit, the kernel buffers up to 4 MiB, which counts toward the memory of
/// the container.
///
/// When half of these bytes have been sent, the server can write again and thus detects that the
/// client is reading. A client that reads less than half of these bytes within `http.write_timeout`
/// can be disconnected.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 32 * 1024;

/// Size of the write buffer of a connection, in bytes. When the buffer contains this many bytes, no
/// more of a response body is added. The buffer can exceed this size by one piece of a body.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;

/// The settings for HTTP/1.1, and the state that the connections of a server share.
#[derive(Clone)]
pub(super) struct HttpProtocol {
    keep_alive: Duration,
    timeouts: ConnectionTimeouts,
    unread: Arc<UnreadResponses>,
    bodies: BodyBudget,
    stopping: GracefulShutdownSignal,
}

/// An accepted connection in the form that the HTTP library expects.
type Accepted = (Connection, actix_http::Protocol, Option<SocketAddr>);

impl HttpProtocol {
    /// Creates the protocol for the server that `builder` builds.
    pub(super) fn new(http: &HttpSettings, builder: &ServerBuilder) -> Self {
        Self {
            keep_alive: http.keep_alive,
            timeouts: ConnectionTimeouts { head: http.body_timeout, write: http.write_timeout },
            unread: Arc::new(UnreadResponses::new(http.bodies_bytes_max)),
            bodies: BodyBudget::new(http.bodies_bytes_max),
            stopping: builder.graceful_shutdown_signal(),
        }
    }

    /// Returns the memory budget for the bodies and the incomplete heads of requests.
    pub(super) fn bodies(&self) -> &BodyBudget {
        &self.bodies
    }

    /// Sets how long an idle connection is kept open.
    pub(super) fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets the maximum total size, in bytes, of the bodies and the incomplete heads of requests.
    /// The same maximum applies separately to unread responses.
    pub(super) fn bytes_max(mut self, bytes_max: usize) -> Self {
        self.unread = Arc::new(UnreadResponses::new(bytes_max));
        self.bodies = BodyBudget::new(bytes_max);
        self
    }

    /// Returns the factory for a service that serves `app` on the connections of one server thread.
    pub(super) fn serve<S>(
        &self,
        app: S,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = (),
        Error = DispatchError,
        InitError = (),
    > + use<S>
    where
        S: ServiceFactory<
                Request,
                Config = AppConfig,
                Response = ServiceResponse<BoxBody>,
                Error = Error,
                InitError = (),
            > + 'static,
    {
        let app =
            map_config(app.map_err(|error| error.error_response()), |()| AppConfig::default());
        self.accept().and_then(self.build().finish(app))
    }

    /// Returns the builder for the service that implements HTTP/1.1.
    pub(super) fn build<S>(&self) -> HttpServiceBuilder<Connection, S>
    where
        S: ServiceFactory<Request, Config = ()>,
        S::Error: Into<Response<BoxBody>> + 'static,
        S::InitError: std::fmt::Debug,
        <S::Service as Service<Request>>::Future: 'static,
    {
        let stopping = self.stopping.clone();
        HttpServiceBuilder::default()
            .keep_alive(KeepAlive::Timeout(self.keep_alive))
            .client_request_timeout(self.timeouts.head + HEAD_MARGIN)
            .client_disconnect_timeout(LINGER)
            .h1_write_buffer_size(WRITE_BUFFER_BYTES)
            // The shutdown must not wait for idle keep-alive connections.
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .on_connect_ext(|connection: &Connection, data| {
                ConnectionHandle::register(connection.socket(), data);
                data.insert(Rc::clone(connection.state()));
            })
    }

    /// Returns the factory for a service that wraps accepted sockets in [`Connection`]s.
    pub(super) fn accept(
        &self,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = Accepted,
        Error = DispatchError,
        InitError = (),
    > + use<> {
        let (timeouts, unread, bodies) =
            (self.timeouts, Arc::clone(&self.unread), self.bodies.clone());
        fn_service(move |socket: TcpStream| -> Ready<Result<Accepted, DispatchError>> {
            // An error means that the client has disconnected, which the first read reports.
            let _ = socket.set_nodelay(true);
            limit_unsent_bytes(&socket);
            let peer = socket.peer_addr().ok();
            let connection = Connection::new(socket, timeouts, &unread, &bodies);
            ready(Ok((connection, actix_http::Protocol::Http1, peer)))
        })
    }
}

/// Limits the number of unsent bytes that the kernel buffers for a socket.
#[cfg(target_os = "linux")]
fn limit_unsent_bytes(socket: &TcpStream) {
    // An error means that the client has disconnected.
    let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
}

#[cfg(not(target_os = "linux"))]
fn limit_unsent_bytes(_: &TcpStream) {}
