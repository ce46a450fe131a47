//! The page, its parts and the client, as they lie in the binary.

use mayfly_http::{File, content_security_policy};
use mayfly_runtime::settings::Public;

const PAGE: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TYPES: &str = "application/typescript; charset=utf-8";

/// Makes a file of `web/`.
macro_rules! file {
    ($path:literal, $name:literal, $kind:expr) => {
        File::new($path, $kind, include_bytes!(concat!("../web/", $name)).as_slice())
    };
}

/// Every file there is.
pub(crate) fn make_files(public: &Public) -> Vec<File> {
    // The page may load its own files, and talk to the services; nothing else.
    let urls = [&public.ingest_url, &public.list_url, &public.live_url];
    let policy = content_security_policy(urls.into_iter().flat_map(|url| {
        // Over a WebSocket it is another scheme.
        [url.clone(), url.replacen("http", "ws", 1)]
    }));
    let page = file!("/", "index.html", PAGE)
        .header("Content-Security-Policy", &policy)
        .header("Referrer-Policy", "no-referrer");
    let for_all_origins = |file: File| {
        file.header("Access-Control-Allow-Origin", "*")
            .header("Cross-Origin-Resource-Policy", "cross-origin")
    };
    vec![
        page,
        for_all_origins(file!("/mayfly.js", "mayfly.js", SCRIPT)),
        for_all_origins(file!("/mayfly.d.ts", "mayfly.d.ts", TYPES)),
        file!("/page/page.css", "page.css", STYLE),
        file!("/page/message.css", "message.css", STYLE),
        file!("/page/stats.css", "stats.css", STYLE),
        file!("/page/plays.css", "plays.css", STYLE),
        file!("/page/pulse.css", "pulse.css", STYLE),
        file!("/page/rising.css", "rising.css", STYLE),
        file!("/page/page.js", "page.js", SCRIPT),
        file!("/page/chart.js", "chart.js", SCRIPT),
        file!("/page/connection.js", "connection.js", SCRIPT),
        file!("/page/feed.js", "feed.js", SCRIPT),
        file!("/page/ground.js", "ground.js", SCRIPT),
        file!("/page/inbox.js", "inbox.js", SCRIPT),
        file!("/page/message.js", "message.js", SCRIPT),
        file!("/page/plays.js", "plays.js", SCRIPT),
        file!("/page/pulse.js", "pulse.js", SCRIPT),
        file!("/page/rising.js", "rising.js", SCRIPT),
        file!("/page/stats.js", "stats.js", SCRIPT),
        file!("/page/visit.js", "visit.js", SCRIPT),
        file!("/page/write.js", "write.js", SCRIPT),
    ]
}
