//! Problem responses.

use mayfly_http::Code;

use crate::server::{problem, start};

#[tokio::test]
async fn every_code_has_its_status_and_no_internals() {
    let server = start(&[]).await;
    for code in Code::ALL {
        let response =
            server.get(&format!("/problem/{}", code.as_str())).send().await.expect("a response");
        assert_eq!(response.status().as_u16(), code.status().as_u16());
        let busy = matches!(code.status().as_u16(), 429 | 503);
        assert_eq!(response.headers().get("retry-after").is_some_and(|value| value == "1"), busy);
        assert_eq!(response.headers().contains_key("www-authenticate"), code == Code::Unauthorized);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let problem = problem(response).await;
        assert_eq!(problem["code"], code.as_str());
        assert!(!problem.to_string().contains("secret"));
        assert!(problem.get("errors").is_none());
    }
}

#[tokio::test]
async fn error_page_explains_every_code() {
    let server = start(&[]).await;
    let response = server.get("/docs/errors").send().await.expect("a response");
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["cache-control"], "max-age=3600");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(headers.contains_key("content-security-policy"));
    let page = response.text().await.expect("a body");
    for code in Code::ALL {
        assert!(page.contains(&format!("id=\"{}\"", code.as_str())), "{code:?}");
    }
    let head = server.request("HEAD", "/docs/errors").send().await.expect("a response");
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn unknown_path_is_not_found() {
    let server = start(&[]).await;
    let response = server.get("/nowhere").send().await.expect("a response");
    assert_eq!(response.status(), 404);
    assert_eq!(problem(response).await["code"], "not_found");
}

#[tokio::test]
async fn errors_of_the_http_library_are_problems() {
    let server = start(&[]).await;
    let response = server.get("/text/many").send().await.expect("a response");
    assert_eq!(response.status(), 404);
    assert_eq!(problem(response).await["code"], "not_found");
}

#[tokio::test]
async fn unsupported_version_is_not_acceptable() {
    let server = start(&[]).await;
    let get = |accept: &'static str| server.get("/plain").header("accept", accept).send();
    assert_eq!(get("application/json; version=1").await.expect("a response").status(), 200);
    assert_eq!(get("application/json;version=1.0").await.expect("a response").status(), 200);
    assert_eq!(get("text/html").await.expect("a response").status(), 200);
    let response = get("application/json; version=2").await.expect("a response");
    assert_eq!(response.status(), 406);
    assert_eq!(problem(response).await["code"], "not_acceptable");
}

#[tokio::test]
async fn request_that_exceeds_its_timeout_is_unavailable() {
    let server = start(&[("MAYFLY_HTTP__REQUEST_TIMEOUT", "50ms")]).await;
    let response = server.get("/stuck").send().await.expect("a response");
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    let problem = problem(response).await;
    assert_eq!(problem["code"], "unavailable");
    assert!(!problem.to_string().contains("request_timeout"));
}

#[tokio::test]
async fn type_of_a_problem_leads_to_its_documentation() {
    let server = start(&[]).await;
    let response = server.get("/problem/invalid_cursor").send().await.expect("a response");
    let url = problem(response).await["type"].as_str().expect("a URL").to_owned();
    let (path, id) = url.split_once('#').expect("a fragment");
    let page = server.get(path).send().await.expect("a response");
    assert_eq!(page.status(), 200);
    let page = page.text().await.expect("a body");
    assert!(page.contains(&format!("id=\"{id}\"")), "{page}");
}

#[tokio::test]
async fn type_is_absolute_if_the_public_url_is_known() {
    let base = "https://example.org/list";
    let server = start(&[("MAYFLY_PUBLIC__LIST_URL", base)]).await;
    for path in ["/nowhere", "/problem/invalid_cursor"] {
        let problem = problem(server.get(path).send().await.expect("a response")).await;
        let url = problem["type"].as_str().expect("a URL");
        assert!(url.starts_with(&format!("{base}/docs/errors#")), "{url}");
    }
}
