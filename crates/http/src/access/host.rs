//! The host that a request addresses. A page whose own name resolves to the address of this server
//! (DNS rebinding) has the same origin as the server, but addresses another host.

use actix_web::http::{
    Uri,
    header::{HOST, HeaderMap},
};
use mayfly_runtime::AllowedHosts;

use crate::{Code, Problem};

/// The path that load balancers request by address. It reveals nothing.
const HEALTH_PATH: &str = "/health";

/// Checks the host of a request. A request without one does not come from a browser.
///
/// # Errors
/// Returns 403 `forbidden` if the host is not allowed.
pub(crate) fn check_host(
    target: &Uri,
    headers: &HeaderMap,
    hosts: &AllowedHosts,
) -> Result<(), Problem> {
    if hosts.is_empty() {
        return Ok(());
    }
    let header = headers.get(HOST).map(|host| host.to_str().unwrap_or("?"));
    let target_host = target.authority().map(actix_web::http::uri::Authority::as_str);
    let is_allowed = [header, target_host].into_iter().flatten().all(|host| hosts.allows(host));
    if is_allowed || target.path() == HEALTH_PATH {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden).detail(
        "The host is not allowed: use a host in MAYFLY_HTTP__ALLOWED_HOSTS, or add this one.",
    ))
}
