//! `mayfly.js` in a browser, with a clock, a network and a server controlled by the test.

use flate2::{Compression, write::GzEncoder};
use mayfly_tests::Browser;
use serde_json::json;
use std::io::Write as _;

const CLIENT: &str = include_str!("../../../../web/client/mayfly.js");
const HARNESS: &str = include_str!("harness.js");
const CASES: &str = include_str!("cases.js");

#[tokio::test]
async fn mayfly_js_passes_its_tests() {
    let browser = Browser::open().await;
    let tab = browser.open_tab("about:blank#cases", 800).await;
    let names = tab.run(&format!("{CASES}\nreturn Object.keys(cases)")).await;
    let names = names.as_array().expect("the names are an array");
    assert!(names.len() >= 20, "{names:?}");
    let mut failures = Vec::new();
    for name in names {
        // Each test has its own window.
        let script = format!(
            "const frame = document.body.appendChild(document.createElement('iframe'));
             for (const text of {}) {{
                 const script = frame.contentDocument.createElement('script');
                 script.textContent = text;
                 frame.contentDocument.head.append(script);
             }}
             const {{ cases, makeWorld }} = frame.contentWindow;
             return cases[{name}](makeWorld()).then(() => null, (failed) => failed.stack)",
            json!([HARNESS, CASES, CLIENT]),
        );
        let failed = tab.run(&script).await;
        if !failed.is_null() {
            failures.push(format!("{name}: {failed}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn mayfly_js_is_smaller_than_6_kib() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(CLIENT.as_bytes()).expect("writing to a Vec succeeds");
    let bytes = encoder.finish().expect("writing to a Vec succeeds").len();
    assert!(bytes < 6 * 1024, "{bytes} bytes");
}
