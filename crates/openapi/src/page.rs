//! The documentation page at `/docs`: Swagger UI, embedded in the binary.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use mayfly_http::{Docs, StaticFile, content_security_policy};
use mayfly_runtime::{Service, Settings};
use serde_json::Value;
use utoipa_swagger_ui::Config;

use crate::build_document;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Builds the documentation of an API: the OpenAPI document, serialized once, and the page.
///
/// # Panics
/// Never, because the files are embedded in the binary.
pub fn build_docs(service: Service, settings: &Settings) -> Docs {
    let public = &settings.public;
    let document = build_document(settings);
    let fragments = list_fragments(&document);
    let index = StaticFile::new("/docs", HTML, include_str!("../page/index.html"))
        .header(
            "Content-Security-Policy",
            &content_security_policy([public.ingest_url.clone(), public.list_url.clone()]),
        )
        .header("Referrer-Policy", "no-referrer");
    let files = vec![
        StaticFile::new("/openapi.json", "application/json", document).reject_query(),
        index,
        StaticFile::new("/docs/page.css", STYLE, include_str!("../page/page.css")),
        StaticFile::new("/docs/page.js", SCRIPT, include_str!("../page/page.js")),
        swagger_file("/docs/swagger-ui.css", STYLE),
        StaticFile::new("/docs/swagger-ui-bundle.js", SCRIPT, swagger_script()),
        swagger_file("/docs/favicon-32x32.png", "image/png"),
    ];
    let base_url =
        if service == Service::IngestApi { &public.ingest_url } else { &public.list_url };
    Docs::new(files, &format!("{base_url}/docs")).operations(fragments)
}

/// Returns the paths of the `GET` operations, each with the URL fragment that makes Swagger UI open
/// the operation.
fn list_fragments(document: &str) -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(document).unwrap_or_default();
    let paths = document["paths"].as_object().into_iter().flatten();
    let fragments = paths.filter_map(|(path, item)| {
        let operation = &item["get"];
        let (tag, id) = (operation["tags"][0].as_str()?, operation["operationId"].as_str()?);
        Some((path.clone(), format!("#/{tag}/{id}")))
    });
    fragments.collect()
}

/// Returns the Swagger UI file that the last segment of `path` names.
fn swagger_file(path: &'static str, content_type: &'static str) -> StaticFile {
    StaticFile::new(path, content_type, load_swagger(path.rsplit('/').next().unwrap_or_default()))
}

fn load_swagger(name: &str) -> Bytes {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::new([""; 0])));
    match file.ok().flatten().expect("invariant: Swagger UI contains this file").bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    }
}

/// Returns the script of Swagger UI with a fix. Version 5.17 reads the servers of an operation
/// under a misspelled name, so Swagger UI would send every request to the origin of the page.
fn swagger_script() -> Bytes {
    let script = load_swagger("swagger-ui-bundle.js");
    String::from_utf8_lossy(&script).replace(r#"get("severs")"#, r#"get("servers")"#).into()
}
