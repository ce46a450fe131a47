//! Assembles the OpenAPI document.

use std::collections::BTreeMap;

use mayfly_core::{
    History, Increase, Message, PlayCount, Pulse, Sample, Snapshot, TrendRanking,
    message::MessageBody,
};
use mayfly_http::Code;
use mayfly_runtime::Settings;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths, Response,
    tag::TagBuilder,
};

use crate::{
    operation::Operation,
    paths::{
        chat, hosts, inbox, increasing, messages, plays, pulse, service, stats, visits, write,
    },
    problem,
    schema::{AnySchema, schemas_of},
    security,
};

/// The tags in display order.
const TAGS: [(&str, &str); 9] = [
    (messages::TAG, "Sending messages, and reading all stored messages."),
    (inbox::TAG, "The unexpired messages of one username: reading and taking them."),
    (write::TAG, "Sending a message as a query or a form."),
    (chat::TAG, "Sending and receiving messages by username in a short form."),
    (plays::TAG, "Reporting plays of videos, each counted exactly once, and reading play counts."),
    (visits::TAG, "Presence: reporting visitors on pages."),
    (hosts::TAG, "Visitors per page of a host, trending pages, and history."),
    (stats::TAG, "The statistics snapshot and the health of the system."),
    (service::TAG, "Health and documentation of the services."),
];

/// Builds the document as JSON. The servers of the operations are the public URLs of the services.
/// An empty URL means the origin of the document. In the mode `open`, which ignores credentials,
/// the operations require none.
///
/// # Panics
/// Never, because the document contains only values that JSON can represent.
pub fn build_document(settings: &Settings) -> String {
    serde_json::to_string(&assemble(settings))
        .expect("invariant: strings and numbers are valid JSON")
}

fn assemble(settings: &Settings) -> OpenApi {
    let mut problems: BTreeMap<String, Response> = BTreeMap::new();
    let mut paths = Paths::new();
    for operation in operations() {
        let (path, method) = (operation.path, operation.method.clone());
        let built = operation.build(settings, |codes: &[Code]| {
            let name = problem::response_name(codes);
            problems.entry(name.clone()).or_insert_with(|| problem::response(codes));
            name
        });
        paths.add_path_operation(path, vec![method], built);
    }
    let schemas = [("Problem", problem::problem())]
        .into_iter()
        .chain(messages::schemas())
        .chain(inbox::schemas())
        .chain(plays::schemas())
        .chain(visits::schemas())
        .map(|(name, schema)| (name.to_owned(), schema));
    let schemas = schemas.chain(derived_schemas());
    let components =
        ComponentsBuilder::new().schemas_from_iter(schemas).responses_from_iter(problems);
    let components = security::schemes()
        .into_iter()
        .fold(components, |components, (name, scheme)| components.security_scheme(name, scheme));
    let tags =
        TAGS.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Mayfly API")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(include_str!("info.md")))
                .license(Some(
                    LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
                )),
        )
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(tags))
        .build()
}

/// Returns the schemas that are derived from Rust types.
fn derived_schemas() -> impl Iterator<Item = (String, AnySchema)> {
    schemas_of::<MessageBody<'_>>()
        .into_iter()
        // The schema of `MessageBody` itself is hand-written, because a message must have `text` or
        // `data`.
        .skip(1)
        .chain(schemas_of::<Message>())
        .chain(schemas_of::<PlayCount>())
        .chain(schemas_of::<Pulse>())
        .chain(schemas_of::<Snapshot>())
        .chain(schemas_of::<Sample>())
        .chain(schemas_of::<TrendRanking>())
        .chain(schemas_of::<History>())
        .chain(schemas_of::<Increase>())
}

/// Returns every operation of both APIs.
fn operations() -> impl Iterator<Item = Operation> {
    messages::operations()
        .into_iter()
        .chain(inbox::operations())
        .chain(write::operations())
        .chain(chat::operations())
        .chain(plays::operations())
        .chain(hosts::operations())
        .chain(increasing::operations())
        .chain(visits::operations())
        .chain(stats::operations())
        .chain(pulse::operations())
        .chain(service::operations())
}
