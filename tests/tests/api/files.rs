//! Static files and the redirect to the documentation.

use std::io::Read;

use crate::server::{problem, start};

#[tokio::test]
async fn file_is_served_plain_compressed_or_as_304() {
    let server = start(&[]).await;
    let plain = server.get("/docs").send().await.expect("a response");
    assert_eq!(plain.headers()["content-type"], "text/html");
    assert_eq!(plain.headers()["cache-control"], "no-cache");
    assert_eq!(plain.headers()["referrer-policy"], "no-referrer");
    let tag = plain.headers()["etag"].to_str().expect("text").to_owned();
    let plain = plain.bytes().await.expect("a body");
    for _ in 0..2 {
        let compressed = server.get("/docs").header("accept-encoding", "gzip").send().await;
        let compressed = compressed.expect("a response");
        assert_eq!(compressed.headers()["content-encoding"], "gzip");
        assert_eq!(compressed.headers()["vary"], "Accept-Encoding");
        assert_eq!(compressed.headers()["etag"], tag);
        let mut text = Vec::new();
        let compressed = compressed.bytes().await.expect("a body");
        flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut text).expect("gzip");
        assert_eq!(text, plain);
    }
    for (cached, status) in [(tag.as_str(), 304), ("\"x\", *", 304), ("W/\"x\"", 200)] {
        let again = server.get("/docs").header("if-none-match", cached).send().await;
        let again = again.expect("a response");
        assert_eq!(
            (again.status().as_u16(), &again.headers()["etag"]),
            (status, &tag.parse().expect("a header"))
        );
        assert_eq!(again.bytes().await.expect("the connection closes").is_empty(), status == 304);
    }
    let head = server.request("HEAD", "/docs").send().await.expect("a response");
    assert_eq!(head.headers()["content-length"], "2000");
}

#[tokio::test]
async fn page_ignores_query_and_document_rejects_it() {
    let server = start(&[]).await;
    assert_eq!(server.get("/docs?x=1").send().await.expect("a response").status(), 200);
    let rejected = server.get("/document?x=1").send().await.expect("a response");
    assert_eq!(rejected.status(), 400);
    assert_eq!(problem(rejected).await["errors"][0]["field"], "x");
}

#[tokio::test]
async fn only_browsers_are_redirected_to_the_page() {
    let server = start(&[]).await;
    let browser = server.get("/").header("accept", "text/html,*/*;q=0.8").send().await;
    let browser = browser.expect("a response");
    assert_eq!(
        (browser.status().as_u16(), &browser.headers()["location"]),
        (302, &"/docs".parse().expect("a header"))
    );
    assert!(browser.headers()["vary"].to_str().expect("text").contains("Accept"));
    for accept in ["*/*", "application/json"] {
        let other = server.get("/").header("accept", accept).send().await.expect("a response");
        assert_eq!(other.status(), 404, "{accept}");
        assert_eq!(problem(other).await["code"], "not_found");
    }
}
