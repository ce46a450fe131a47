//! Requests from pages on other origins, and requests to hosts that are not allowed.

use reqwest::RequestBuilder;

use crate::server::{exchange, problem, start};

const ALLOWED: (&str, &str) = ("MAYFLY_HTTP__ALLOWED_ORIGINS", "https://example.org");
const JSON: (&str, &str) = ("content-type", "application/json");

async fn expect_forbidden(request: RequestBuilder) {
    let response = request.send().await.expect("a response");
    assert_eq!(response.status(), 403);
    let problem = problem(response).await;
    assert_eq!(problem["code"], "forbidden");
}

#[tokio::test]
async fn page_of_another_origin_cannot_write() {
    for settings in [&[][..], &[ALLOWED][..]] {
        let server = start(settings).await;
        for origin in ["http://evil.example", "null", "https://example.org.evil.net"] {
            for path in ["/message/write", "/plain", "/form", "/documents"] {
                expect_forbidden(server.post(path).header("origin", origin)).await;
            }
            // A `GET` that writes, sent by a `fetch` call without a preflight request.
            expect_forbidden(server.get("/message/write").header("origin", origin)).await;
        }
        for site in ["cross-site", "same-site"] {
            for path in ["/message/write", "/plain"] {
                expect_forbidden(server.post(path).header("sec-fetch-site", site)).await;
            }
            // An image or a link on a page from another origin, such as another subdomain or port.
            let image = server.get("/message/write").header("sec-fetch-site", site);
            expect_forbidden(image.header("referer", "https://other.example.org/")).await;
        }
    }
}

#[tokio::test]
async fn own_and_allowed_pages_and_programs_can_write() {
    let server = start(&[ALLOWED]).await;
    let own = format!("http://{}", server.address);
    for headers in [
        &[][..],
        &[("origin", own.as_str()), ("sec-fetch-site", "same-origin")],
        &[("origin", "https://example.org"), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-site"), ("referer", "https://example.org/page")],
    ] {
        let with = |request: RequestBuilder| {
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        let post = with(server.post("/plain").header(JSON.0, JSON.1).body("{}"));
        assert_eq!(post.send().await.expect("a response").status(), 200, "{headers:?}");
        let get = with(server.get("/message/write"));
        assert_eq!(get.send().await.expect("a response").status(), 200, "{headers:?}");
    }
}

#[tokio::test]
async fn page_of_another_origin_can_send_reads() {
    let server = start(&[ALLOWED]).await;
    for path in ["/plain", "/health", "/docs"] {
        let request = server.get(path).header("sec-fetch-site", "cross-site");
        let response = request.header("origin", "http://evil.example").send().await;
        let response = response.expect("a response");
        assert_eq!(response.status(), 200, "{path}");
        assert!(!response.headers().contains_key("access-control-allow-origin"), "{path}");
    }
    // The path does not support the method, so the request has no effect either.
    let request = server.request("DELETE", "/plain").header("origin", "http://evil.example");
    assert_eq!(request.send().await.expect("a response").status(), 405);
}

#[tokio::test]
async fn beacon_of_a_page_is_json_declared_as_text() {
    let server = start(&[ALLOWED]).await;
    let post = |origin: Option<&str>, kind: &str| {
        let request = server.post("/beacon").header("content-type", kind).body("{}");
        match origin {
            Some(origin) => request.header("origin", origin).send(),
            None => request.send(),
        }
    };
    let allowed = Some("https://example.org");
    for kind in ["text/plain;charset=UTF-8", "text/plain", "application/json"] {
        assert_eq!(post(allowed, kind).await.expect("a response").status(), 200, "{kind}");
    }
    assert_eq!(post(allowed, "text/html").await.expect("a response").status(), 415);
    let cross_origin = post(Some("http://evil.example"), "text/plain;charset=UTF-8").await;
    assert_eq!(cross_origin.expect("a response").status(), 403);
    assert_eq!(post(None, "text/plain").await.expect("a response").status(), 415);
    assert_eq!(post(None, "application/json").await.expect("a response").status(), 200);
}

/// A page of another origin cannot set these headers without a preflight request, but a client can
/// send them through a proxy.
#[tokio::test]
async fn forwarded_hosts_and_schemes_change_neither_the_own_origin_nor_the_host() {
    let peer = ("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.1");
    let hosts = ("MAYFLY_HTTP__ALLOWED_HOSTS", "example.org");
    let server = start(&[peer]).await;
    let other = start(&[peer, hosts]).await;
    for (name, value) in [
        ("forwarded", "host=example.org;proto=https"),
        ("x-forwarded-host", "example.org"),
        ("x-forwarded-proto", "https"),
        ("x-original-host", "example.org"),
    ] {
        let request = server.post("/plain").header("origin", "https://example.org");
        expect_forbidden(request.header(name, value)).await;
        expect_forbidden(other.get("/plain").header(name, value)).await;
    }
    let response = other.get("/plain").header("host", "example.org").send().await;
    assert_eq!(response.expect("a response").status(), 200);
}

#[tokio::test]
async fn other_hosts_are_rejected_except_by_the_health_check() {
    let server = start(&[("MAYFLY_HTTP__ALLOWED_HOSTS", "localhost,127.0.0.1")]).await;
    let send = async |target: &str, host: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        exchange(&mut server.connect().await, &request).await
    };
    for host in ["localhost", "LOCALHOST:1234", "127.0.0.1:80"] {
        assert!(send("/plain", host).await.starts_with("HTTP/1.1 200 "), "{host}");
    }
    for host in ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", ""] {
        for target in ["/plain", "/nowhere", "/docs"] {
            let response = send(target, host).await;
            assert!(response.starts_with("HTTP/1.1 403 "), "{host}: {response}");
            assert!(response.contains("\"code\":\"forbidden\""), "{response}");
        }
        assert!(send("/health", host).await.starts_with("HTTP/1.1 200 "), "{host}");
    }
    let response = send("http://evil.example/plain", "localhost").await;
    assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
    let old = "GET /plain HTTP/1.0\r\n\r\n";
    let response = exchange(&mut server.connect().await, old).await;
    assert!(response.starts_with("HTTP/1.0 200 "), "a program without a host: {response}");
}
