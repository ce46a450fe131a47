//! Files that do not change, and the way to the page among them.

use std::io::Read;

use crate::server::{problem, start};

#[tokio::test]
async fn a_file_is_served_whole_compressed_or_not_at_all_where_it_is_known() {
    let server = start(&[]).await;
    let whole = server.get("/docs").send().await.expect("an answer");
    assert_eq!(whole.headers()["content-type"], "text/html");
    assert_eq!(whole.headers()["cache-control"], "no-cache");
    assert_eq!(whole.headers()["referrer-policy"], "no-referrer");
    let tag = whole.headers()["etag"].to_str().expect("text").to_owned();
    let whole = whole.bytes().await.expect("a body");
    for _ in 0..2 {
        let small = server.get("/docs").header("accept-encoding", "gzip").send().await;
        let small = small.expect("an answer");
        assert_eq!(small.headers()["content-encoding"], "gzip");
        assert_eq!(small.headers()["vary"], "Accept-Encoding");
        assert_eq!(small.headers()["etag"], tag);
        let mut text = Vec::new();
        let small = small.bytes().await.expect("a body");
        flate2::read::GzDecoder::new(&small[..]).read_to_end(&mut text).expect("gzip");
        assert_eq!(text, whole);
    }
    for (known, status) in [(tag.as_str(), 304), ("\"x\", *", 304), ("W/\"x\"", 200)] {
        let again = server.get("/docs").header("if-none-match", known).send().await;
        let again = again.expect("an answer");
        assert_eq!(
            (again.status().as_u16(), &again.headers()["etag"]),
            (status, &tag.parse().expect("a header"))
        );
        assert_eq!(again.bytes().await.expect("an end").is_empty(), status == 304);
    }
    let head = server.request("HEAD", "/docs").send().await.expect("an answer");
    assert_eq!(head.headers()["content-length"], "2000");
}

#[tokio::test]
async fn a_page_passes_over_parameters_and_a_document_refuses_them() {
    let server = start(&[]).await;
    assert_eq!(server.get("/docs?x=1").send().await.expect("an answer").status(), 200);
    let refused = server.get("/document?x=1").send().await.expect("an answer");
    assert_eq!(refused.status(), 400);
    assert_eq!(problem(refused).await["errors"][0]["field"], "x");
}

#[tokio::test]
async fn who_takes_html_is_sent_to_the_page_and_nobody_else_is() {
    let server = start(&[]).await;
    let browser = server.get("/").header("accept", "text/html,*/*;q=0.8").send().await;
    let browser = browser.expect("an answer");
    assert_eq!(
        (browser.status().as_u16(), &browser.headers()["location"]),
        (302, &"/docs".parse().expect("a header"))
    );
    assert!(browser.headers()["vary"].to_str().expect("text").contains("Accept"));
    for accept in ["*/*", "application/json"] {
        let other = server.get("/").header("accept", accept).send().await.expect("an answer");
        assert_eq!(other.status(), 404, "{accept}");
        assert_eq!(problem(other).await["code"], "not_found");
    }
}
