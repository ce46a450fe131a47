//! The whole document, put together.

use std::collections::BTreeMap;

use mayfly_http::Code;
use mayfly_runtime::settings::Public;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths, Response,
    tag::TagBuilder,
};

use crate::{
    chat, hosts, inbox, increasing, messages, operation::Operation, plays, problem, pulse, schema,
    service, stats, visits, write,
};

/// The headings, in the order in which a reader needs them.
const TAGS: [(&str, &str); 9] = [
    (messages::TAG, "What is sent, and what was ever stored."),
    (inbox::TAG, "The live messages of one username: looked at, or taken."),
    (write::TAG, "A message as a query or a form."),
    (chat::TAG, "A message for somebody, and what came for somebody, in the short form."),
    (plays::TAG, "Plays of videos, each counted once, and how often each video was played."),
    (visits::TAG, "Who is on which page of a site, as long as heartbeats come."),
    (hosts::TAG, "Who is on which page of a host, which pages rise, and how they did before."),
    (stats::TAG, "The sums of the last minute, and how the whole is doing."),
    (service::TAG, "The services themselves."),
];

/// Makes the document, as JSON; what it names as servers are the public URLs, or, where those are empty, where it came from.
///
/// # Panics
/// Never: what it is made of is texts and numbers.
pub fn make_document(public: &Public) -> String {
    serde_json::to_string(&describe(public)).expect("invariant: texts and numbers are JSON")
}

fn describe(public: &Public) -> OpenApi {
    let mut problems: BTreeMap<String, Response> = BTreeMap::new();
    let mut paths = Paths::new();
    for operation in operations() {
        let (path, method) = (operation.path, operation.method.clone());
        let finished = operation.finish(public, |codes: &[Code]| {
            let name = problem::name_of(codes);
            problems.entry(name.clone()).or_insert_with(|| problem::answer(codes));
            name
        });
        paths.add_path_operation(path, vec![method], finished);
    }
    let schemas = [("Problem", problem::problem()), ("Json", schema::json())]
        .into_iter()
        .chain(messages::schemas())
        .chain(inbox::schemas())
        .chain(plays::schemas())
        .chain(hosts::schemas())
        .chain(increasing::schemas())
        .chain(visits::schemas())
        .chain(pulse::schemas())
        .chain(stats::schemas());
    let components =
        ComponentsBuilder::new().schemas_from_iter(schemas).responses_from_iter(problems);
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

/// Every operation of both APIs.
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
