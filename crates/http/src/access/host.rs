//! Checks the host that a request addresses, as a defense against DNS rebinding. In this attack,
//! the attacker's host name resolves to the address of this server, so a browser treats the
//! attacker's page and the server as the same origin. The check rejects requests from the page,
//! because they address the attacker's host.

use actix_web::http::{
    Uri,
    header::{HOST, HeaderMap},
};
use mayfly_runtime::AllowedHosts;

use crate::{Code, Problem};

/// The path that is exempt from the check. Load balancers send health checks to an IP address, and
/// the response contains no sensitive data.
const HEALTH_PATH: &str = "/health";

/// Checks the host of a request. If `hosts` is empty, every host is allowed. A request without a
/// host does not come from a browser and is allowed.
///
/// # Errors
/// Returns 403 `forbidden` if the host is not allowed and the path is not [`HEALTH_PATH`].
pub(crate) fn check_host(
    target: &Uri,
    headers: &HeaderMap,
    hosts: &AllowedHosts,
) -> Result<(), Problem> {
    if find_forbidden_host(target, headers, hosts).is_none() {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden).detail(
        "The host is not allowed: use a host in MAYFLY_HTTP__ALLOWED_HOSTS, or add this one.",
    ))
}

/// Returns the host of a request if [`check_host`] rejects it.
pub(crate) fn find_forbidden_host<'a>(
    target: &'a Uri,
    headers: &'a HeaderMap,
    hosts: &AllowedHosts,
) -> Option<&'a str> {
    if hosts.is_empty() || target.path() == HEALTH_PATH {
        return None;
    }
    let header = headers.get(HOST).map(|host| host.to_str().unwrap_or("?"));
    let target_host = target.authority().map(actix_web::http::uri::Authority::as_str);
    [header, target_host].into_iter().flatten().find(|host| !hosts.allows(host))
}
