//! What is answered over HTTP: the page and its files, the client, events, and upgrades.

use std::rc::Rc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
            ETAG, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    web::{self, ServiceConfig},
};
use mayfly_http::{Code, Problem, UpgradeRequest, resource, upgrade_required};
use mayfly_runtime::settings::Public;
use serde_json::json;
use tracing::debug;

use crate::{
    connection,
    events::get_events,
    files::{FILES, File},
    local::Local,
    query::LiveQuery,
};

/// Where a request to upgrade is taken.
const LIVE_PATHS: [&str; 4] = ["/v1/live", "/", "/ws", "/echo"];

/// Adds the resources of the service.
pub(crate) fn configure(local: &Rc<Local>) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let local = Rc::clone(local);
    move |config| {
        let policy = content_security_policy(&local.hub.settings.public);
        for file in &FILES {
            let (policy, tag) = (policy.clone(), file.tag());
            config.service(resource(file.path).get(move |request: HttpRequest| {
                let answer = answer_file(file, &tag, &request, &policy);
                async move { answer }
            }));
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

fn answer_file(
    file: &File,
    tag: &str,
    request: &HttpRequest,
    policy: &HeaderValue,
) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((ETAG, tag));
    // Always asked for again, and mostly answered in a word: a page never runs with old parts.
    answer.insert_header((CACHE_CONTROL, "no-cache"));
    answer.insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if file.is_for_all_origins {
        answer.insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
        answer.insert_header(("Cross-Origin-Resource-Policy", "cross-origin"));
    }
    if file.path == "/" {
        answer.insert_header((CONTENT_SECURITY_POLICY, policy.clone()));
        answer.insert_header((REFERRER_POLICY, "no-referrer"));
    }
    let known = request.headers().get(IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let is_same = |one: &str| one.trim().trim_start_matches("W/") == tag;
    if known.is_some_and(|known| known.split(',').any(is_same)) {
        return answer.status(StatusCode::NOT_MODIFIED).finish();
    }
    answer.insert_header((CONTENT_TYPE, file.kind)).body(web::Bytes::from_static(file.body))
}

/// The page may load its own files, and talk to the services; nothing else.
fn content_security_policy(public: &Public) -> HeaderValue {
    let mut connect = String::from("'self'");
    for url in [&public.ingest_url, &public.list_url, &public.live_url] {
        let Some((scheme, rest)) = url.split_once("://") else { continue };
        let authority = rest.split(['/', ';', ',']).next().unwrap_or_default();
        // Over a WebSocket it is another scheme.
        let socket = scheme.replace("http", "ws");
        connect.extend([" ", scheme, "://", authority, " ", &socket, "://", authority]);
    }
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("invariant: URLs were understood before, and are ASCII")
}
