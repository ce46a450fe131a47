//! Security: how callers authenticate, and the rights that operations require. Both come from the
//! table of routes that the services enforce.

use mayfly_http::{
    Code,
    routes::{ROUTES, RouteAccess},
};
use mayfly_runtime::settings::{AuthMode, AuthSettings};
use utoipa::openapi::{
    HttpMethod,
    security::{
        ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
    },
};

const KEY: &str = "ApiKey";
const KEY_HEADER: &str = "ApiKeyHeader";
const KEY_PARAMETER: &str = "ApiKeyParameter";
const TOKEN: &str = "Token";

/// Returns the security schemes with their names.
pub(crate) fn schemes() -> [(&'static str, SecurityScheme); 4] {
    let bearer =
        |text: &str| HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text));
    let key = bearer(
        "An API key (`mf_…`), for servers. A requirement names the scope that the key needs.",
    );
    let token =
        bearer("A token, for browsers and apps. Its claim `mayfly` grants the rights of a user.")
            .bearer_format("JWT");
    let header =
        ApiKeyValue::with_description("X-API-Key", "An API key, or a token, without a scheme.");
    let parameter = ApiKeyValue::with_description("apikey", "An API key with the scope `read`.");
    [
        (KEY, SecurityScheme::Http(key.build())),
        (KEY_HEADER, SecurityScheme::ApiKey(ApiKey::Header(header))),
        (KEY_PARAMETER, SecurityScheme::ApiKey(ApiKey::Query(parameter))),
        (TOKEN, SecurityScheme::Http(token.build())),
    ]
}

/// Returns the access that an operation requires, according to the table of routes.
pub(crate) fn find_access(path: &str, method: &HttpMethod) -> RouteAccess {
    let method = match method {
        HttpMethod::Post => "POST",
        HttpMethod::Delete => "DELETE",
        _ => "GET",
    };
    let route = ROUTES.iter().find(|route| route.path == path);
    route.and_then(|route| route.access(method)).unwrap_or(RouteAccess::Public)
}

/// Returns the alternative requirements of an operation; empty if it requires no credentials. An
/// empty requirement means that credentials are optional.
pub(crate) fn requirements(access: RouteAccess, auth: &AuthSettings) -> Vec<SecurityRequirement> {
    match access {
        RouteAccess::KeyParameter => vec![SecurityRequirement::new(KEY_PARAMETER, [""; 0])],
        RouteAccess::Scope(scope, _) if auth.mode == AuthMode::Keys => {
            let scope = scope.as_str();
            let mut all = vec![
                SecurityRequirement::new(KEY, [scope]),
                SecurityRequirement::new(KEY_HEADER, [scope]),
                SecurityRequirement::new(TOKEN, [""; 0]),
            ];
            if auth.anonymous.iter().any(|held| *held == scope || *held == "operate") {
                all.push(SecurityRequirement::default());
            }
            all
        }
        RouteAccess::Public | RouteAccess::Scope(..) => Vec::new(),
    }
}

/// Returns the problem codes of an operation with requirements.
pub(crate) fn problems(access: RouteAccess) -> &'static [Code] {
    match access {
        RouteAccess::Public => &[],
        RouteAccess::KeyParameter => &[Code::Unauthorized, Code::RateLimited, Code::Unavailable],
        RouteAccess::Scope(..) => {
            &[Code::Unauthorized, Code::Forbidden, Code::RateLimited, Code::Unavailable]
        }
    }
}

/// Returns a sentence about the rights that an operation requires.
pub(crate) fn describe(access: RouteAccess) -> Option<String> {
    let RouteAccess::Scope(scope, _) = access else { return None };
    let patterns = match access.patterns() {
        [] => String::new(),
        patterns => format!(" and matching patterns (`{}`)", patterns.join("`, `")),
    };
    Some(format!(
        "Requires an API key with the scope `{}`{patterns}, or a token whose claim `mayfly` contains `{}`.",
        scope.as_str(),
        access.claims().join("` or `")
    ))
}
