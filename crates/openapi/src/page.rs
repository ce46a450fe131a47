//! The page at `/docs`: Swagger UI as it lies in the binary, and around it what is ours.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use mayfly_http::{Docs, File, content_security_policy};
use mayfly_runtime::{Service, settings::Public};
use utoipa_swagger_ui::Config;

use crate::make_document;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Makes what an API shows of itself: the document, written down once, and the page.
///
/// # Panics
/// Never: the files are in the binary.
pub fn make_docs(service: Service, public: &Public) -> Docs {
    let document = make_document(public);
    let index = File::new("/docs", HTML, include_str!("../page/index.html"))
        .header(
            "Content-Security-Policy",
            &content_security_policy([public.ingest_url.clone(), public.list_url.clone()]),
        )
        .header("Referrer-Policy", "no-referrer");
    let files = vec![
        File::new("/openapi.json", "application/json", document).without_parameters(),
        index,
        File::new("/docs/page.css", STYLE, include_str!("../page/page.css")),
        File::new("/docs/page.js", SCRIPT, include_str!("../page/page.js")),
        swagger("/docs/swagger-ui.css", STYLE),
        File::new("/docs/swagger-ui-bundle.js", SCRIPT, swagger_script()),
        swagger("/docs/favicon-32x32.png", "image/png"),
    ];
    let own = if service == Service::IngestApi { &public.ingest_url } else { &public.list_url };
    Docs::new(files, &format!("{own}/docs"))
}

/// A file of Swagger UI, under the name that it has there.
fn swagger(path: &'static str, kind: &'static str) -> File {
    File::new(path, kind, find_swagger(path.rsplit('/').next().unwrap_or_default()))
}

fn find_swagger(name: &str) -> Bytes {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::new([""; 0])));
    match file.ok().flatten().expect("invariant: Swagger UI has this file").bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    }
}

/// The script of Swagger UI. Version 5.17 looks for the servers of an operation under a misspelt name, finds none, and
/// would send every request to the origin of the page.
fn swagger_script() -> Bytes {
    let script = find_swagger("swagger-ui-bundle.js");
    String::from_utf8_lossy(&script).replace(r#"get("severs")"#, r#"get("servers")"#).into()
}
