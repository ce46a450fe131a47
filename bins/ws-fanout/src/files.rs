//! The page, its parts and the client, as they lie in the binary.

use std::hash::{DefaultHasher, Hash, Hasher};

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// A file that is served as it is.
pub(crate) struct File {
    pub(crate) path: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) body: &'static [u8],
    /// Whether pages of every origin may use it.
    pub(crate) is_for_all_origins: bool,
}

/// Makes a file of `web/`.
macro_rules! file {
    ($path:literal, $name:literal, $kind:expr, $all:literal) => {
        File {
            path: $path,
            kind: $kind,
            body: include_bytes!(concat!("../web/", $name)),
            is_for_all_origins: $all,
        }
    };
}

/// Every file there is.
pub(crate) const FILES: [File; 14] = [
    file!("/", "index.html", "text/html; charset=utf-8", false),
    file!("/mayfly.js", "mayfly.js", SCRIPT, true),
    file!("/mayfly.d.ts", "mayfly.d.ts", "application/typescript; charset=utf-8", true),
    file!("/page/page.css", "page.css", STYLE, false),
    file!("/page/message.css", "message.css", STYLE, false),
    file!("/page/stats.css", "stats.css", STYLE, false),
    file!("/page/page.js", "page.js", SCRIPT, false),
    file!("/page/connection.js", "connection.js", SCRIPT, false),
    file!("/page/feed.js", "feed.js", SCRIPT, false),
    file!("/page/ground.js", "ground.js", SCRIPT, false),
    file!("/page/inbox.js", "inbox.js", SCRIPT, false),
    file!("/page/message.js", "message.js", SCRIPT, false),
    file!("/page/stats.js", "stats.js", SCRIPT, false),
    file!("/page/write.js", "write.js", SCRIPT, false),
];

impl File {
    /// The version of the file, as `ETag` has it.
    pub(crate) fn tag(&self) -> String {
        // Not against anybody who tries: only to tell one build from the next.
        let mut hasher = DefaultHasher::new();
        self.body.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}
