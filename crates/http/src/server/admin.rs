//! The admin port: health, version and metrics, for operators.

use std::time::Duration;

use actix_server::Server as ActixServer;
use actix_service::IntoServiceFactory;
use actix_web::{
    App, HttpRequest, HttpResponse,
    http::header::{ContentType, RETRY_AFTER},
    web::{self, Data},
};
use anyhow::Context as _;
use mayfly_runtime::{Process, VERSION, exit_on_panic};
use serde_json::json;
use tracing::error;

use super::{
    BoundListener,
    endpoint::{Endpoint, resource},
    protocol::HttpProtocol,
};
use crate::{
    Code, NoQuery, Problem,
    middleware::RequestLayer,
    request::{Context, RequestTimeout},
    routes::Route,
};

/// Maximum number of connections. Probes and scrapers need only a few. `open_files` in the
/// runtime reserves the same number of descriptors.
const CONNECTIONS_MAX: usize = 64;

/// How long an idle connection is kept open. The time is short, so that idle connections do not
/// exhaust the connection limit.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The maximum total size of incomplete heads, in bytes, and separately of unread responses. The
/// admin port does not share `http.bodies_bytes_max`, because probes must succeed while the public
/// port is overloaded. The fixed amounts of the memory formulas in OPERATIONS.md include this size.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Starts the admin server on its own thread and returns. The server runs until the process exits,
/// including during the drain, and depends on no other component.
///
/// # Errors
/// Fails if the server cannot start.
pub async fn serve_admin(listener: BoundListener, process: &Process) -> anyhow::Result<()> {
    let for_app = process.clone();
    let builder = ActixServer::build()
        .workers(1)
        .max_concurrent_connections(CONNECTIONS_MAX)
        .disable_signals();
    let protocol = HttpProtocol::new(&process.settings.http, &builder)
        .keep_alive(KEEP_ALIVE)
        .bytes_max(BYTES_MAX);
    let service = move || {
        let app = App::new()
            .app_data(Data::new(for_app.clone()))
            .app_data(RequestTimeout(for_app.settings.http.request_timeout))
            .service(endpoint("/livez").get(get_livez))
            .service(endpoint("/readyz").get(get_readyz))
            .service(endpoint("/version").get(get_version))
            .service(endpoint("/metrics").get(get_metrics))
            .default_service(web::to(reject_unmatched))
            .wrap(RequestLayer::for_admin_port(&for_app));
        protocol.serve(app.into_factory())
    };
    let server = listener
        .serve_with(builder, "admin", service)
        .context("cannot serve the admin port")?
        .run();
    tokio::spawn(exit_on_panic("serve the admin port", async move {
        if let Err(error) = server.await {
            error!(%error, "admin server failed; health checks and metrics are unavailable");
        }
    }));
    Ok(())
}

/// Creates an endpoint that requires no credentials: the network must restrict who can connect to
/// the admin port.
fn endpoint(path: &'static str) -> Endpoint {
    resource(&Route::public(path, "GET, HEAD, OPTIONS"))
}

async fn reject_unmatched(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Context::check_rejection(&request)?;
    Err(Problem::new(Code::NotFound))
}

async fn get_livez() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(r#"{"status":"alive"}"#)
}

async fn get_readyz(process: Data<Process>) -> HttpResponse {
    let report = process.health.report();
    if report.status.is_ready() {
        return HttpResponse::Ok().json(report);
    }
    HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, "1")).json(report)
}

async fn get_version(process: Data<Process>, _: NoQuery) -> HttpResponse {
    HttpResponse::Ok().json(json!({"service": process.service.name(), "version": VERSION}))
}

async fn get_metrics(process: Data<Process>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(process.metrics.render())
}
