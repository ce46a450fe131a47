//! What is answered over HTTP: the page and its files, the client, events, and upgrades.

use std::rc::Rc;

use actix_web::{
    HttpRequest, HttpResponse, http::header::ACCESS_CONTROL_ALLOW_ORIGIN, web::ServiceConfig,
};
use mayfly_http::{Code, Problem, UpgradeRequest, resource, upgrade_required};
use mayfly_runtime::settings::Public;
use serde_json::json;
use tracing::debug;

use crate::{connection, events::get_events, files::make_files, local::Local, query::LiveQuery};

/// Where a request to upgrade is taken.
const LIVE_PATHS: [&str; 4] = ["/v1/live", "/", "/ws", "/echo"];

/// Adds the resources of the service.
pub(crate) fn configure(local: &Rc<Local>) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let local = Rc::clone(local);
    move |config| {
        for file in make_files(&local.hub.settings.public) {
            config.service(file.endpoint());
        }
        config
            .app_data(local)
            .service(resource("/v1/live").get(refuse_plain))
            .service(resource("/ws").get(refuse_plain))
            .service(resource("/echo").get(refuse_plain))
            .service(resource("/v1/events").get(get_events))
            .service(resource("/config.json").get(get_config));
    }
}

/// Takes a socket over, or says why not.
pub(crate) async fn upgrade(local: Rc<Local>, request: UpgradeRequest) {
    match check(&local, &request) {
        Err(problem) => request.refuse(problem).await,
        Ok(seat) => {
            let query = LiveQuery::parse(request.query());
            debug!(request.id = request.request_id().as_str(), "upgrading");
            if let Ok(switched) = request.accept().await {
                // The task of the HTTP connection ends here, and with it all that it keeps.
                actix_web::rt::spawn(connection::serve(local, switched, query, seat));
            }
        }
    }
}

fn check(local: &Local, request: &UpgradeRequest) -> Result<crate::hub::Seat, Problem> {
    if !LIVE_PATHS.contains(&request.path()) {
        return Err(Problem::new(Code::NotFound));
    }
    request.check(&local.hub.settings.http.allowed_origins)?;
    local.hub.admit()
}

async fn refuse_plain() -> Result<HttpResponse, Problem> {
    Err(upgrade_required())
}

/// Where a page finds the others; empty stands for the origin of the page.
async fn get_config(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let local = request.app_data::<Rc<Local>>().ok_or_else(|| Problem::new(Code::Internal))?;
    let Public { ingest_url, list_url, live_url } = &local.hub.settings.public;
    let config = json!({
        "ingest_url": ingest_url,
        "list_url": list_url,
        "live_url": live_url,
    });
    Ok(HttpResponse::Ok().insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*")).json(config))
}
