//! The admin port: health, version and metrics, for operators.

use std::net::TcpListener;

use actix_web::{
    App, HttpResponse, HttpServer,
    http::header::{ContentType, RETRY_AFTER},
    web::{self, Data},
};
use anyhow::Context;
use mayfly_runtime::{Process, VERSION};
use serde_json::json;
use tracing::error;

use super::endpoint::resource;
use crate::{Code, NoQuery, Problem, middleware::RequestLayer, request::RequestTimeout};

/// Probes and scrapers need few connections.
const CONNECTIONS_MAX: usize = 256;

/// Starts the admin server on its own thread and returns. It runs until the process exits, also
/// during the drain, and depends on no other component.
///
/// # Errors
/// Fails if the server cannot start.
pub async fn serve_admin(
    listener: impl Into<TcpListener>,
    process: &Process,
) -> anyhow::Result<()> {
    let for_app = process.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(for_app.clone()))
            .app_data(RequestTimeout(for_app.settings.http.request_timeout))
            .service(resource("/livez").get(get_livez))
            .service(resource("/readyz").get(get_readyz))
            .service(resource("/version").get(get_version))
            .service(resource("/metrics").get(get_metrics))
            .default_service(web::to(|| async {
                Err::<HttpResponse, _>(Problem::new(Code::NotFound))
            }))
            .wrap(RequestLayer::for_admin_port(&for_app))
    })
    .workers(1)
    .max_connections(CONNECTIONS_MAX)
    .disable_signals()
    .listen(listener.into())
    .context("cannot serve the admin port")?
    .run();
    tokio::spawn(async move {
        if let Err(error) = server.await {
            error!(%error, "admin server failed; health checks and metrics are unavailable");
        }
    });
    Ok(())
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
