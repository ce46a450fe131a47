//! The routes: the web page, the client library, the public URLs, server-sent events and WebSocket
//! upgrades.

use std::rc::Rc;

use actix_web::{
    HttpRequest, HttpResponse, http::header::ACCESS_CONTROL_ALLOW_ORIGIN, web::ServiceConfig,
};
use mayfly_http::{Code, Problem, UpgradeRequest, resource, routes, upgrade_required};
use mayfly_runtime::settings::PublicSettings;
use serde_json::json;
use tracing::debug;

use super::{
    authentication::{accepts_anonymous_callers, admit, authenticate, too_many_connections},
    client_frame::Secret,
    files::build_files,
    query::LiveQuery,
    sse::get_events,
    websocket::{HeaderCredentials, Opening, serve_websocket},
};
use crate::{hub::ConnectionPermit, websocket::Close, worker::WorkerContext};

/// The paths that accept WebSocket upgrades.
const LIVE_PATHS: [&str; 4] = ["/v1/live", "/", "/ws", "/echo"];

/// Registers the routes of the service.
pub(crate) fn configure(context: &Rc<WorkerContext>) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let context = Rc::clone(context);
    move |config| {
        for file in build_files(&context.hub.settings.public) {
            config.service(file.endpoint());
        }
        config
            .app_data(context)
            .service(resource(&routes::LIVE).get(require_upgrade))
            .service(resource(&routes::WS).get(require_upgrade))
            .service(resource(&routes::ECHO).get(require_upgrade))
            .service(resource(&routes::EVENTS).get(get_events))
            .service(resource(&routes::CONFIG).get(get_config));
    }
}

/// Accepts an upgrade and serves the WebSocket, or rejects the upgrade with a problem. A web page
/// cannot read the response to a rejected upgrade. For errors that the page must detect, the server
/// therefore accepts the upgrade and then closes the WebSocket.
pub(crate) async fn upgrade(context: Rc<WorkerContext>, request: UpgradeRequest) {
    match admit_upgrade(&context, &request).await {
        Err(problem) => request.reject(problem).await,
        Ok((permit, opening)) => {
            debug!(request.id = request.request_id().as_str(), "upgrading to a WebSocket");
            if let Ok(upgraded) = request.accept().await {
                // Run in a separate task, so that the task and the buffers of the HTTP connection
                // are freed.
                actix_web::rt::spawn(serve_websocket(context, upgraded, opening, permit));
            }
        }
    }
}

/// Admits a connection, and reads the parts of its request that determine how the connection
/// starts.
async fn admit_upgrade(
    context: &WorkerContext,
    request: &UpgradeRequest,
) -> Result<(ConnectionPermit, Opening), Problem> {
    let hub = &context.hub;
    if !LIVE_PATHS.contains(&request.path()) {
        return Err(Problem::new(Code::NotFound));
    }
    request.validate()?;
    let query = match find_forbidden(context, request) {
        Some(close) => Err(close),
        None => LiveQuery::parse(request.query()).map_err(Close::from),
    };
    let address: Box<str> = request.client().to_string().into();
    // The credentials for a connection that will be closed do not matter.
    let header = match request.credentials() {
        Ok(Some(credentials)) if query.is_ok() => {
            let text = Secret::new(credentials.text());
            // The future is boxed so that its memory is freed when it completes.
            let result = Box::pin(authenticate(hub, Some(text.expose()), &address)).await;
            HeaderCredentials::Checked { text, result }
        }
        Ok(_) => HeaderCredentials::None,
        Err(_) => HeaderCredentials::Malformed,
    };
    // So far, the connection counts as an HTTP connection. Therefore, valid credentials in a header
    // are accepted however many live connections are waiting for authentication.
    let mut permit = hub.admit()?;
    let slot = if let HeaderCredentials::Checked { result: Ok(accepted), .. } = &header {
        // No web page can send credentials in a header, so no client needs a close code.
        let client = accepted.identity.client_id();
        let slot = admit(hub, client.as_deref().unwrap_or(&address));
        Ok(slot.map_err(|_| too_many_connections())?)
    } else {
        if !accepts_anonymous_callers(hub) {
            permit.mark_unauthenticated()?;
        }
        admit(hub, &address)
    };
    Ok((permit, Opening { query, header, address, slot }))
}

/// If the host or the origin of a request is not allowed, logs it and returns the close. The client
/// must receive nothing else, as a defense against DNS rebinding.
fn find_forbidden(context: &WorkerContext, request: &UpgradeRequest) -> Option<Close> {
    let log = &context.hub.forbidden_log;
    if let Some(host) = request.find_forbidden_host() {
        log.record_host(host);
        return Some(Close::host_not_allowed(host));
    }
    let origin = request.find_forbidden_origin()?;
    log.record_origin(&origin);
    Some(Close::origin_not_allowed(&origin))
}

async fn require_upgrade() -> Result<HttpResponse, Problem> {
    Err(upgrade_required())
}

/// Returns the public URLs of the services. An empty URL means the origin of the page.
async fn get_config(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let context =
        request.app_data::<Rc<WorkerContext>>().ok_or_else(|| Problem::new(Code::Internal))?;
    let PublicSettings { ingest_url, list_url, live_url } = &context.hub.settings.public;
    let config = json!({
        "ingest_url": ingest_url,
        "list_url": list_url,
        "live_url": live_url,
    });
    Ok(HttpResponse::Ok().insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*")).json(config))
}
