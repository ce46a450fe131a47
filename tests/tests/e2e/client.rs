//! `mayfly.js` by itself: in a browser, with a clock, a network and a server that the test turns.

use flate2::{Compression, write::GzEncoder};
use mayfly_tests::Browser;
use serde_json::json;
use std::io::Write as _;

const CLIENT: &str = include_str!("../../../bins/ws-fanout/web/mayfly.js");
const HARNESS: &str = include_str!("client/harness.js");
const CASES: &str = include_str!("client/cases.js");

#[tokio::test]
async fn mayfly_js_keeps_every_promise() {
    let browser = Browser::open().await;
    let tab = browser.tab("about:blank#cases", 800).await;
    let names = tab.run(&format!("{CASES}\nreturn Object.keys(cases)")).await;
    let names = names.as_array().expect("there are cases");
    assert!(names.len() >= 20, "{names:?}");
    let mut broken = Vec::new();
    for name in names {
        // Each has a window that nobody has touched yet.
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
            broken.push(format!("{name}: {failed}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn mayfly_js_is_smaller_than_6_kib() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(CLIENT.as_bytes()).expect("a Vec takes every byte");
    let bytes = packed.finish().expect("a Vec takes every byte").len();
    assert!(bytes < 6 * 1024, "{bytes} bytes");
}
