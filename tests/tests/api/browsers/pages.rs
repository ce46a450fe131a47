//! JSON responses as pages for browsers.

use reqwest::Response;

use crate::server::{TestServer, problem, start};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn get(server: &TestServer, path: &str, accept: &str) -> Response {
    server.get(path).header("accept", accept).send().await.expect("a response")
}

#[tokio::test]
async fn browser_receives_a_page_and_programs_receive_json() {
    let server = start(&[]).await;
    for accept in ["*/*", "application/json", "application/json, text/html;q=0.9", "text/*"] {
        let response = get(&server, "/list", accept).await;
        assert_eq!(response.headers()["content-type"], "application/json", "{accept}");
        assert_eq!(response.headers()["vary"], "Accept", "{accept}");
    }
    let plain = server.get("/list").send().await.expect("a response");
    assert_eq!(plain.headers()["content-type"], "application/json");

    let response = get(&server, "/list?q=<b>&limit=5", BROWSER).await;
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["vary"], "Accept");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let policy = headers["content-security-policy"].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
    let page = response.text().await.expect("a body");
    for part in [
        "<h1><code>GET /list?q=",
        "200 OK",
        "<dt>content-type</dt><dd>application/json</dd>",
        "<dt>x-request-id</dt>",
        "<span class=\"key\">&quot;items&quot;</span>",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "<a href=\"./list?cursor=2\">Next page</a>",
        "<a href=\"./docs\">Documentation of this operation</a>",
        "href=\"./docs/view.css\"",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    for part in ["<script", "<b>", "style=", "onerror"] {
        assert!(!page.contains(part), "{part} is in {page}");
    }
    let style = server.get("/docs/view.css").send().await.expect("a response");
    assert_eq!(style.status(), 200);
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
}

#[tokio::test]
async fn page_links_to_the_operation() {
    let server = start(&[]).await;
    let page = get(&server, "/query?limit=5", BROWSER).await.text().await.expect("a body");
    assert!(page.contains("href=\"./docs#/queries/run_query\""), "{page}");
}

#[tokio::test]
async fn errors_are_pages_with_the_status_of_the_problem() {
    let server = start(&[]).await;
    for (path, status, code) in [
        ("/nowhere", 404, "not_found"),
        ("/query?size=0", 400, "invalid_field"),
        ("/problem/unavailable", 503, "unavailable"),
    ] {
        let response = get(&server, path, BROWSER).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8", "{path}");
        assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{path}");
        let page = response.text().await.expect("a body");
        assert!(page.contains(&format!("&quot;{code}&quot;")), "{page}");
        let json = get(&server, path, "*/*").await;
        assert_eq!(problem(json).await["code"], code);
    }
}

#[tokio::test]
async fn only_json_responses_to_get_become_pages() {
    let server = start(&[]).await;
    assert_eq!(get(&server, "/plain", BROWSER).await.text().await.expect("a body"), "plain");
    let file = get(&server, "/document", BROWSER).await;
    assert_eq!(file.headers()["content-type"], "application/json", "a file");
    let head = server.request("HEAD", "/list").header("accept", BROWSER).send().await;
    let head = head.expect("a response");
    let page = get(&server, "/list", BROWSER).await;
    assert_eq!(head.headers()["content-type"], "text/html; charset=utf-8");
    let length = head.headers()["content-length"].to_str().expect("text").parse::<usize>();
    // The request ID and the trace context in the page have a fixed length.
    assert_eq!(length.ok(), Some(page.text().await.expect("a body").len()));
    let posted = server.post("/plain").header("accept", BROWSER).body("{}").send().await;
    assert_eq!(problem(posted.expect("a response")).await["code"], "unsupported_media_type");
}
