//! The web page and the client library, embedded in the binary.

use mayfly_http::{StaticFile, content_security_policy};
use mayfly_runtime::settings::PublicSettings;

const PAGE: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TYPES: &str = "application/typescript; charset=utf-8";

/// Creates the file at `$path` from `web/$name`.
macro_rules! file {
    ($path:literal, $name:literal, $kind:expr) => {
        StaticFile::new(
            $path,
            $kind,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/", $name)).as_slice(),
        )
    };
}

/// Returns the embedded files.
pub(super) fn build_files(public: &PublicSettings) -> Vec<StaticFile> {
    // The page may load its own files and call the services.
    let urls = [&public.ingest_url, &public.list_url, &public.live_url];
    let policy = content_security_policy(urls.into_iter().flat_map(|url| {
        // WebSocket URLs have their own scheme.
        [url.clone(), url.replacen("http", "ws", 1)]
    }));
    let page = file!("/", "page/index.html", PAGE)
        .header("Content-Security-Policy", &policy)
        .header("Referrer-Policy", "no-referrer");
    let for_all_origins = |file: StaticFile| {
        file.header("Access-Control-Allow-Origin", "*")
            .header("Cross-Origin-Resource-Policy", "cross-origin")
    };
    vec![
        page,
        for_all_origins(file!("/mayfly.js", "client/mayfly.js", SCRIPT)),
        for_all_origins(file!("/mayfly.mjs", "client/mayfly.mjs", SCRIPT)),
        for_all_origins(file!("/mayfly.d.ts", "client/mayfly.d.ts", TYPES)),
        for_all_origins(file!("/mayfly.d.mts", "client/mayfly.d.mts", TYPES)),
        file!("/page/styles/page.css", "page/styles/page.css", STYLE),
        file!("/page/styles/message.css", "page/styles/message.css", STYLE),
        file!("/page/styles/stats.css", "page/styles/stats.css", STYLE),
        file!("/page/styles/plays.css", "page/styles/plays.css", STYLE),
        file!("/page/styles/pulse.css", "page/styles/pulse.css", STYLE),
        file!("/page/styles/rising.css", "page/styles/rising.css", STYLE),
        file!("/page/page.js", "page/page.js", SCRIPT),
        file!("/page/api.js", "page/api.js", SCRIPT),
        file!("/page/clock.js", "client/src/clock.js", SCRIPT),
        file!("/page/credentials.js", "page/credentials.js", SCRIPT),
        file!("/page/heartbeat.js", "page/heartbeat.js", SCRIPT),
        file!("/page/random.js", "page/random.js", SCRIPT),
        file!("/page/refresher.js", "page/refresher.js", SCRIPT),
        file!("/page/storage.js", "page/storage.js", SCRIPT),
        file!("/page/feed/announcer.js", "page/feed/announcer.js", SCRIPT),
        file!("/page/feed/cards.js", "page/feed/cards.js", SCRIPT),
        file!("/page/feed/list.js", "page/feed/list.js", SCRIPT),
        file!("/page/feed/rate.js", "page/feed/rate.js", SCRIPT),
        file!("/page/panels/access.js", "page/panels/access.js", SCRIPT),
        file!("/page/panels/connection.js", "page/panels/connection.js", SCRIPT),
        file!("/page/panels/feed.js", "page/panels/feed.js", SCRIPT),
        file!("/page/panels/inbox.js", "page/panels/inbox.js", SCRIPT),
        file!("/page/panels/plays.js", "page/panels/plays.js", SCRIPT),
        file!("/page/panels/post.js", "page/panels/post.js", SCRIPT),
        file!("/page/panels/pulse.js", "page/panels/pulse.js", SCRIPT),
        file!("/page/panels/rising.js", "page/panels/rising.js", SCRIPT),
        file!("/page/panels/stats.js", "page/panels/stats.js", SCRIPT),
        file!("/page/ui/chart.js", "page/ui/chart.js", SCRIPT),
        file!("/page/ui/dom.js", "page/ui/dom.js", SCRIPT),
        file!("/page/ui/field.js", "page/ui/field.js", SCRIPT),
        file!("/page/ui/format.js", "page/ui/format.js", SCRIPT),
        file!("/page/ui/message.js", "page/ui/message.js", SCRIPT),
    ]
}
