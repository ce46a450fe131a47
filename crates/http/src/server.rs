//! The public server: bound early, served until drained.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use actix_http::HttpService;
use actix_server::{Server as Running, ServerHandle};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App, Error, HttpRequest, HttpResponse, HttpServer,
    body::BoxBody,
    dev::{AppConfig, ServiceFactory, ServiceRequest, ServiceResponse},
    http::{KeepAlive, Method},
    middleware::Condition,
    web,
};
use anyhow::Context;
use mayfly_runtime::{Process, Service, Settings};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    Code, NoQuery, Problem,
    body::BodyTimeout,
    closing::Closing,
    cors,
    endpoint::{answer_options, resource},
    hangup::Hangup,
    middleware::{Edge, RequestTimeout},
    routes,
    upgrade::UpgradeRequest,
};

/// Connections that may wait to be accepted; a burst of them must not be refused.
const BACKLOG: i32 = 4096;
/// How long a client may still send after its answer, so that it reads the answer and not a reset.
const LINGER: Duration = Duration::from_secs(2);
/// What is kept of the time to leave for what comes after the server.
const LEAVE_MARGIN: Duration = Duration::from_secs(1);

/// A bound port, before it is served.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds an address; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = listen(address).with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr().context("a bound socket has an address")?;
        Ok(Self { listener, address })
    }

    /// The address that was bound, with its true port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl From<Server> for TcpListener {
    fn from(server: Server) -> Self {
        server.listener
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves a bound port until it is drained: after the first signal it takes requests for `http.drain_delay`, asking
/// every client to close, then finishes what it took.
///
/// `configure` adds the resources of the service; `/health`, 404 and all that is common is there already.
///
/// # Errors
/// If the server cannot start, or ends before the drain.
pub async fn serve<F>(
    listener: impl Into<TcpListener>,
    process: &Process,
    configure: F,
) -> anyhow::Result<()>
where
    F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
{
    let settings = &process.settings;
    let workers = count_workers(settings);
    let for_app = process.clone();
    let listener = listener.into();
    let closing = Closing::of(&listener).context("cannot serve")?;
    let server = HttpServer::new(move || make_app(&for_app, configure.clone()))
        .workers(workers)
        .max_connections(settings.http.connections_max.div_ceil(workers))
        .keep_alive(KeepAlive::Timeout(settings.http.keep_alive))
        .client_request_timeout(settings.http.body_timeout)
        .client_disconnect_timeout(LINGER)
        .tcp_nodelay(true)
        .shutdown_timeout(seconds_to_finish(settings))
        .disable_signals()
        .listen(listener)
        .context("cannot serve")?
        .run();
    // Made when the drain begins: its time counts from then on.
    let drain = async { tokio::time::sleep(settings.http.drain_delay).await };
    run_until_drained(server, closing, process, drain).await
}

/// As [`serve`], for a service that takes sockets over. `local` is asked once on each thread that serves, for what adds
/// the resources there and what a request to upgrade goes to; its socket belongs to that thread from then on. The port
/// is closed when `drain`, which begins with the drain, is over, too.
///
/// # Errors
/// As [`serve`].
pub async fn serve_upgrades<L, F, U>(
    listener: impl Into<TcpListener>,
    process: &Process,
    local: L,
    drain: impl Future<Output = ()>,
) -> anyhow::Result<()>
where
    L: Fn() -> (F, U) + Clone + Send + 'static,
    F: FnOnce(&mut web::ServiceConfig) + 'static,
    U: AsyncFn(UpgradeRequest) + Clone + 'static,
{
    let settings = &process.settings;
    let workers = count_workers(settings);
    let for_app = process.clone();
    let listener = listener.into();
    let closing = Closing::of(&listener).context("cannot serve")?;
    let builder = Running::build();
    let stopping = builder.graceful_shutdown_signal();
    let service = move || {
        let http = &for_app.settings.http;
        let stopping = stopping.clone();
        let (configure, upgrade) = local();
        let app = make_app(&for_app, configure).into_factory();
        HttpService::build()
            .keep_alive(KeepAlive::Timeout(http.keep_alive))
            .client_request_timeout(http.body_timeout)
            .client_disconnect_timeout(LINGER)
            .tcp_nodelay(true)
            // A connection that is only kept for the next request must not be waited for.
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            // Who has hung up on a stream of events is not written to any more.
            .h1_allow_half_closed(false)
            .on_connect_ext(Hangup::keep)
            .upgrade(fn_service(move |(request, framed)| {
                let upgrade = upgrade.clone();
                async move {
                    upgrade(UpgradeRequest::new(request, framed)).await;
                    Ok::<(), Infallible>(())
                }
            }))
            .finish(map_config(app.map_err(|error| error.error_response()), |()| {
                AppConfig::default()
            }))
            .tcp()
    };
    let server = builder
        .backlog(u32::try_from(BACKLOG).unwrap_or_default())
        .workers(workers)
        .max_concurrent_connections(settings.http.connections_max.div_ceil(workers))
        .shutdown_timeout(LINGER.as_secs())
        .disable_signals()
        .listen("live", listener, service)
        .context("cannot serve")?
        .run();
    let drain = async { tokio::join!(tokio::time::sleep(settings.http.drain_delay), drain) };
    run_until_drained(server, closing, process, drain).await
}

/// Everything that is common to the public ports around what a service adds.
fn make_app<F>(
    process: &Process,
    configure: F,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    > + use<F>,
>
where
    F: FnOnce(&mut web::ServiceConfig),
{
    let http = &process.settings.http;
    let service = process.service;
    App::new()
        .app_data(BodyTimeout(http.body_timeout))
        .app_data(RequestTimeout(http.request_timeout))
        .app_data(http.trusted_proxies.clone())
        .configure(configure)
        .service(resource("/health").get(get_health))
        .default_service(web::to(move |request: HttpRequest| {
            let answer = answer_unknown_path(service, &request);
            async move { answer }
        }))
        .wrap(Condition::new(!http.allowed_origins.is_empty(), cors::layer(&http.allowed_origins)))
        .wrap(Edge::new(process))
}

/// Waits for the drain, and for `drain` from then on; then closes the port and finishes.
async fn run_until_drained<T>(
    server: Running,
    closing: Closing,
    process: &Process,
    drain: impl Future<Output = T>,
) -> anyhow::Result<()> {
    let handle: ServerHandle = server.handle();
    let mut running = tokio::spawn(server);
    tokio::select! {
        ended = &mut running => {
            ended.context("the HTTP server panicked")?.context("the HTTP server failed")?;
            anyhow::bail!("the HTTP server ended before the drain");
        }
        () = process.lifecycle.draining().cancelled_owned() => {}
    }
    drain.await;
    closing.begin().await;
    handle.stop(true).await;
    running.await.context("the HTTP server panicked")?.context("the HTTP server failed")
}

fn count_workers(settings: &Settings) -> usize {
    match settings.http.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

/// What is left of the time to leave once the port is closed.
fn seconds_to_finish(settings: &Settings) -> u64 {
    let used = settings.http.drain_delay + LEAVE_MARGIN;
    settings.lifecycle.shutdown_timeout.saturating_sub(used).as_secs().max(1)
}

async fn get_health(_: NoQuery) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(r#"{"status":"ok"}"#)
}

/// Of a path of the other API, `OPTIONS` is answered as there, and so is a method that neither knows: an entrance to
/// both sends some of these here. Anything else is not found.
fn answer_unknown_path(service: Service, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let is_api = matches!(service, Service::IngestApi | Service::ListApi);
    let methods = routes::find_methods(request.uri().path()).filter(|_| is_api);
    match methods {
        Some(methods) if request.method() == Method::OPTIONS => Ok(answer_options(methods)),
        Some(methods) if !routes::has_method(methods, request.method()) => {
            Err(Problem::new(Code::MethodNotAllowed).allow(methods))
        }
        _ => Err(Problem::new(Code::NotFound)),
    }
}
