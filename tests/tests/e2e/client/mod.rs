//! `mayfly.js` in a browser: with a clock, a network and a server controlled by the test, and with
//! the real server.

mod served;
mod tokens;

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use mayfly_tests::Browser;
use serde_json::json;

const CLASSIC: &str = include_str!("../../../../web/client/mayfly.js");
const MODULE: &str = include_str!("../../../../web/client/mayfly.mjs");
const HARNESS: &str = include_str!("harness.js");
const CASES: [&str; 6] = [
    include_str!("cases/connection.js"),
    include_str!("cases/lifetimes.js"),
    include_str!("cases/listeners.js"),
    include_str!("cases/options.js"),
    include_str!("cases/subscriptions.js"),
    include_str!("cases/tokens.js"),
];

#[tokio::test]
async fn mayfly_js_passes_its_tests() {
    let browser = Browser::open().await;
    let tab = browser.open_tab("about:blank#cases", 800).await;
    let cases = CASES.concat();
    // Each test has its own window.
    let start = format!(
        "globalThis.openWindow = () => {{
             const frame = document.body.appendChild(document.createElement('iframe'));
             for (const text of {}) {{
                 const script = frame.contentDocument.createElement('script');
                 script.textContent = text;
                 frame.contentDocument.head.append(script);
             }}
             return frame.contentWindow;
         }};
         return Object.keys(openWindow().cases)",
        json!([HARNESS, cases, CLASSIC]),
    );
    let names = tab.run(&start).await;
    let names = names.as_array().expect("the names are an array");
    assert!(names.len() >= 45, "{names:?}");
    let mut failures = Vec::new();
    for name in names {
        let script = format!(
            "const {{ cases, makeWorld }} = openWindow();
             return cases[{name}](makeWorld()).then(() => null, (failed) => failed.stack)",
        );
        let failed = tab.run(&script).await;
        if !failed.is_null() {
            failures.push(format!("{name}: {failed}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn mayfly_js_is_smaller_than_8_kib() {
    for file in [CLASSIC, MODULE] {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(file.as_bytes()).expect("writing to a Vec succeeds");
        let bytes = encoder.finish().expect("writing to a Vec succeeds").len();
        assert!(bytes < 8 * 1024, "{bytes} bytes");
    }
}
