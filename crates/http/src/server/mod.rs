//! The server for the public port, which runs until it is drained, and the server for the admin
//! port, which runs until the process exits.

mod admin;
mod connection_handle;
mod docs;
mod endpoint;
mod graceful_close;
mod listener;
mod open_connections;
mod per_thread;
mod protocol;
mod static_file;
mod upgrade;

use std::{convert::Infallible, sync::Arc, thread, time::Duration};

use actix_server::{Server as ActixServer, ServerBuilder, ServerHandle};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App, Error, HttpRequest, HttpResponse,
    body::BoxBody,
    dev::{AppConfig, ServiceFactory, ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentType},
    },
    middleware::Condition,
    web,
};
use anyhow::Context as _;
use mayfly_authenticator::Authenticator;
use mayfly_runtime::{Process, Service, Settings};

pub use self::{
    admin::serve_admin,
    connection_handle::ConnectionHandle,
    docs::Docs,
    endpoint::{Endpoint, resource},
    listener::BoundListener,
    static_file::{StaticFile, content_security_policy},
    upgrade::{UpgradeRequest, UpgradedSocket, upgrade_required},
};
use self::{
    endpoint::respond_options,
    graceful_close::GracefulClose,
    open_connections::{count_connections, export_connections_max, open_connections},
    protocol::HttpProtocol,
    upgrade::UpgradeContext,
};
use crate::{
    Code, NoQuery, Problem,
    access::cors,
    middleware::RequestLayer,
    request::{BodyBudget, BodyTimeout, Context, RequestTimeout},
    response::render_error_page,
    routes,
};

/// How long the server keeps reading after a response, so that the client receives the response
/// instead of a reset.
const LINGER: Duration = Duration::from_secs(2);
/// Part of the shutdown timeout that is reserved for work after the server has stopped.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(1);

/// Serves a listener until the drain completes. After the first shutdown signal, the server
/// continues to accept requests for `http.drain_delay`, but responds with `Connection: close`. The
/// server then closes the port and completes the accepted requests.
///
/// `authenticator` authenticates the callers of routes that require it. `configure` adds the
/// resources of the service to the common ones, such as `/health`.
///
/// # Errors
/// Fails if the server cannot start, or stops before the drain.
pub async fn serve<F>(
    listener: BoundListener,
    process: &Process,
    authenticator: Arc<Authenticator>,
    configure: F,
) -> anyhow::Result<()>
where
    F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
{
    let settings = &process.settings;
    let for_app = process.clone();
    let close = GracefulClose::new(&listener).context("cannot serve")?;
    let builder = build_server(settings).shutdown_timeout(shutdown_seconds_left(settings));
    let protocol = HttpProtocol::new(&settings.http, &builder);
    let service = move || {
        let app = build_app(&for_app, &authenticator, protocol.bodies(), configure.clone());
        count_connections(open_connections(), protocol.serve(app.into_factory()))
    };
    let server = listener.serve_with(builder, "http", service).context("cannot serve")?.run();
    // The delay starts when the drain begins, because the future is not polled earlier.
    let drain = async { tokio::time::sleep(settings.http.drain_delay).await };
    run_until_drained(server, close, process, drain).await
}

/// Serves a listener until the drain completes, and passes upgrade requests to the service.
///
/// `local` is called once per server thread. It returns the function that adds the resources on
/// that thread, and the handler for upgrade requests, which takes over their connections and
/// authenticates their clients.
/// `drain` is first polled when the drain begins. The port is closed after `http.drain_delay` has
/// elapsed and `drain` has completed.
///
/// # Errors
/// See [`serve`].
pub async fn serve_with_upgrades<L, F, U>(
    listener: BoundListener,
    process: &Process,
    authenticator: Arc<Authenticator>,
    local: L,
    drain: impl Future<Output = ()>,
) -> anyhow::Result<()>
where
    L: Fn() -> (F, U) + Clone + Send + 'static,
    F: FnOnce(&mut web::ServiceConfig) + 'static,
    U: AsyncFn(UpgradeRequest) + Clone + 'static,
{
    let settings = &process.settings;
    let for_app = process.clone();
    let close = GracefulClose::new(&listener).context("cannot serve")?;
    let builder = build_server(settings).shutdown_timeout(LINGER.as_secs());
    let protocol = HttpProtocol::new(&settings.http, &builder);
    let context = UpgradeContext::new(process);
    let service = move || {
        let (configure, upgrade) = local();
        let app = build_app(&for_app, &authenticator, protocol.bodies(), configure);
        let app = app.into_factory();
        let context = context.clone();
        let upgrade = fn_service(move |(request, framed)| {
            let upgrade = upgrade.clone();
            let request = UpgradeRequest::new(request, framed, context.clone());
            async move {
                match request.find_rejection() {
                    Some(problem) => request.reject(problem).await,
                    None => upgrade(request).await,
                }
                Ok::<(), Infallible>(())
            }
        });
        let http = protocol
            .build()
            // An event stream must end when the client closes its side of the connection.
            .h1_allow_half_closed(false)
            .upgrade(upgrade)
            .finish(map_config(app.map_err(|error| error.error_response()), |()| {
                AppConfig::default()
            }));
        count_connections(open_connections(), protocol.accept().and_then(http))
    };
    let server = listener.serve_with(builder, "live", service).context("cannot serve")?.run();
    let drain = async { tokio::join!(tokio::time::sleep(settings.http.drain_delay), drain) };
    run_until_drained(server, close, process, drain).await
}

/// Returns the server builder for a public port.
fn build_server(settings: &Settings) -> ServerBuilder {
    let workers = count_workers(settings);
    let connections_per_worker = settings.http.connections_max.div_ceil(workers);
    export_connections_max(connections_per_worker.saturating_mul(workers));
    ActixServer::build()
        .workers(workers)
        .max_concurrent_connections(connections_per_worker)
        .disable_signals()
}

/// Builds the application for a public port: the common resources and middleware, and the resources
/// of the service.
fn build_app<F>(
    process: &Process,
    authenticator: &Arc<Authenticator>,
    bodies: &BodyBudget,
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
        .app_data(bodies.clone())
        .app_data(Arc::clone(authenticator))
        .app_data(http.trusted_proxies.clone())
        .app_data(http.allowed_origins.clone())
        .configure(configure)
        .service(resource(&routes::HEALTH).get(get_health))
        .service(resource(&routes::ERRORS).get(get_errors))
        .default_service(web::to(move |request: HttpRequest| {
            let response = respond_unmatched(service, &request);
            async move { response }
        }))
        .wrap(Condition::new(!http.allowed_origins.is_empty(), cors(&http.allowed_origins)))
        .wrap(RequestLayer::new(process))
}

/// Runs the server until the drain begins and `drain` completes. Then closes the port and completes
/// the accepted requests.
async fn run_until_drained<T>(
    server: ActixServer,
    close: GracefulClose,
    process: &Process,
    drain: impl Future<Output = T>,
) -> anyhow::Result<()> {
    let handle: ServerHandle = server.handle();
    let mut running = tokio::spawn(server);
    tokio::select! {
        stopped = &mut running => {
            stopped.context("the HTTP server panicked")?.context("the HTTP server failed")?;
            anyhow::bail!("the HTTP server stopped before the drain");
        }
        () = process.lifecycle.draining().cancelled_owned() => {}
    }
    drain.await;
    close.block_new_connections().await;
    handle.stop(true).await;
    running.await.context("the HTTP server panicked")?.context("the HTTP server failed")
}

fn count_workers(settings: &Settings) -> usize {
    match settings.http.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

/// Returns the time in seconds, at least 1, that is left to complete requests after the port is
/// closed.
fn shutdown_seconds_left(settings: &Settings) -> u64 {
    let used = settings.http.drain_delay + SHUTDOWN_MARGIN;
    settings.lifecycle.shutdown_timeout.saturating_sub(used).as_secs().max(1)
}

async fn get_health(_: NoQuery) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(r#"{"status":"ok"}"#)
}

/// Serves the documentation of problem codes.
async fn get_errors(_: NoQuery) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((CACHE_CONTROL, "max-age=3600"))
        .insert_header((CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .body(render_error_page())
}

/// Responds to a request that matches no resource. On paths of the other API, requests with
/// `OPTIONS` or an unsupported method receive the same response as from that API, because a reverse
/// proxy in front of both APIs can send these requests to either API. All other requests receive
/// 404.
fn respond_unmatched(service: Service, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    Context::check_rejection(request)?;
    let is_api = matches!(service, Service::IngestApi | Service::ListApi);
    let methods = routes::find_methods(request.uri().path()).filter(|_| is_api);
    match methods {
        Some(methods) if request.method() == Method::OPTIONS => Ok(respond_options(methods)),
        Some(methods) if !routes::has_method(methods, request.method()) => {
            Err(Problem::new(Code::MethodNotAllowed).allow(methods))
        }
        _ => Err(Problem::new(Code::NotFound)),
    }
}
