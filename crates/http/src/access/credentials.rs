//! The credentials in a request: an API key or a token.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};
use mayfly_auth::{Credentials, MalformedCredentials};
use mayfly_core::KeyHash;

use crate::Problem;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The query parameter for clients that cannot send headers, such as `EventSource`.
const TOKEN_PARAMETER: &str = "token";

/// Returns the credentials in the headers, or `None` if the headers contain none.
///
/// # Errors
/// Returns 401 `unauthorized` if the credentials are malformed.
pub(crate) fn find_credentials(headers: &HeaderMap) -> Result<Option<Credentials<'_>>, Problem> {
    let values = |name: HeaderName| headers.get_all(name).map(HeaderValue::as_bytes);
    Credentials::from_headers(values(AUTHORIZATION), values(X_API_KEY)).map_err(malformed)
}

/// Returns the credentials in the headers or the token in the query. A token needs no
/// percent-encoding, so the parameter is not decoded.
///
/// # Errors
/// Returns 401 `unauthorized` if the credentials are malformed, if the parameter is not a token, or
/// if the headers and the query contain different credentials.
pub(crate) fn find_credentials_or_token<'a>(
    headers: &'a HeaderMap,
    query: &'a str,
) -> Result<Option<Credentials<'a>>, Problem> {
    let in_headers = find_credentials(headers)?;
    let Some(text) = find_token(query) else { return Ok(in_headers) };
    let token = Credentials::parse(text).map_err(malformed)?;
    if matches!(token, Credentials::Key(_)) {
        return Err(Problem::invalid_credentials()
            .detail("The query parameter `token` must be a token. Send an API key in a header."));
    }
    match in_headers {
        Some(other) if other != token => Err(malformed(MalformedCredentials::Ambiguous)),
        Some(_) | None => Ok(Some(token)),
    }
}

/// Returns the value of the first parameter `token`.
fn find_token(query: &str) -> Option<&str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == TOKEN_PARAMETER).map(|(_, value)| value)
}

fn malformed(error: MalformedCredentials) -> Problem {
    Problem::invalid_credentials().detail(format!("The credentials are malformed: {error}."))
}

/// The digest of the credentials in a request, from the headers or from the query parameter
/// `token`; `None` without credentials. An event stream uses it to check later whether the
/// credentials are still accepted. It has no meaning in the mode `open`, which ignores credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsDigest(pub Option<KeyHash>);

impl FromRequest for CredentialsDigest {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // The middleware rejects malformed credentials, except in the mode `open`.
        let credentials = find_credentials_or_token(request.headers(), request.query_string());
        let digest = credentials.ok().flatten().map(|credentials| credentials.digest());
        ready(Ok(Self(digest)))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::WWW_AUTHENTICATE;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn credentials_are_in_either_header() {
        for lines in [
            &[("authorization", "Bearer mf_a")][..],
            &[("authorization", "bearer mf_a")],
            &[("x-api-key", "mf_a")],
            &[("x-api-key", "mf_a"), ("authorization", "Bearer mf_a")],
        ] {
            let headers = headers(lines);
            let found = find_credentials(&headers).expect("well-formed");
            assert_eq!(found, Some(Credentials::Key("mf_a")), "{lines:?}");
        }
        let found = headers(&[("authorization", "Bearer a.b.c")]);
        assert_eq!(find_credentials(&found).ok(), Some(Some(Credentials::Token("a.b.c"))));
        assert_eq!(find_credentials(&HeaderMap::new()).ok(), Some(None));
    }

    #[test]
    fn malformed_credentials_are_unauthorized() {
        for lines in [
            &[("authorization", "Basic eDp5")][..],
            &[("authorization", "Bearer")],
            &[("x-api-key", "")],
            &[("x-api-key", "mf_a"), ("authorization", "Bearer mf_b")],
            &[("x-api-key", "mf_a"), ("x-api-key", "mf_b")],
        ] {
            let problem = find_credentials(&headers(lines)).expect_err("malformed");
            let mut headers = HeaderMap::new();
            problem.write_headers(&mut headers);
            assert_eq!(problem.code().status().as_u16(), 401, "{lines:?}");
            let challenge = headers.get(WWW_AUTHENTICATE).map(HeaderValue::as_bytes);
            assert_eq!(challenge, Some(&b"Bearer error=\"invalid_token\""[..]), "{lines:?}");
            assert!(!problem.summary().contains("mf_"), "{problem:?}");
        }
    }

    #[test]
    fn query_can_contain_a_token_but_no_key() {
        let find = |headers: &HeaderMap, query: &str| {
            let found = find_credentials_or_token(headers, query);
            found.map(|found| found.map(|credentials| credentials.text().to_owned())).ok()
        };
        let (none, same) = (headers(&[]), headers(&[("authorization", "Bearer a.b.c")]));
        for query in ["token=a.b.c", "channel=x&token=a.b.c&since=1"] {
            assert_eq!(find(&none, query), Some(Some("a.b.c".to_owned())), "{query}");
            assert_eq!(find(&same, query), Some(Some("a.b.c".to_owned())), "{query}");
        }
        for query in ["", "channel=token", "Token=a.b.c", "xtoken=a.b.c", "token"] {
            assert_eq!(find(&none, query), Some(None), "{query}");
        }
        for query in ["token=", "token=mf_a", "token=a.b"] {
            assert_eq!(find(&none, query), None, "{query}");
        }
        assert_eq!(find(&same, "token=a.b.d"), None, "different credentials");
        assert_eq!(find(&headers(&[("x-api-key", "mf_a")]), "token=a.b.c"), None);
    }
}
