//! The routing of the single entry point, and the lists of routes and rights in docs/API.md, agree
//! with the table of routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use mayfly_http::routes::{
    ALL, ROUTES, Route, RouteAccess,
    frames::{FEEDS, FRAMES},
};

use super::{product_code, root};

/// A method and a path.
type Endpoint = (String, String);

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("the file exists")
}

fn endpoint(method: &str, path: &str) -> Endpoint {
    (method.to_owned(), path.to_owned())
}

/// Returns the methods of a comma-separated list.
fn methods(list: &str) -> impl Iterator<Item = &str> {
    list.split(", ").filter(|method| !method.is_empty())
}

/// Returns the endpoints that the single entry point must route to ingest-api. By default, it
/// routes all other endpoints of the table to list-api.
fn routed_to_ingest_api() -> BTreeSet<Endpoint> {
    let endpoints = |route: &Route| {
        let path = route.path;
        methods(route.ingest_methods).map(|method| endpoint(method, path)).collect::<Vec<_>>()
    };
    ROUTES.iter().flat_map(endpoints).collect()
}

/// Returns the text between two marks.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{start} is missing"));
    rest.split_once(end).map_or(rest, |(inner, _)| inner)
}

#[test]
fn nginx_routes_match_the_table() {
    let text = read("deploy/nginx.conf");
    let mut found = BTreeSet::new();
    for location in text.split("location = ").skip(1) {
        let path = location.split(' ').next().expect("a location has a path");
        let target = between(location, "proxy_pass http://", ";");
        let Some(map) = target.strip_prefix('$') else { continue };
        let start = format!("map $request_method ${map} {{");
        if !text.contains(&start) {
            continue;
        }
        let map = between(&text, &start, "}\n");
        let line = map.lines().find_map(|line| line.trim().strip_suffix(" $ingest_api;"));
        // Either one method, or a regular expression: ~^(GET|POST)$
        let methods = line.expect("a map routes to ingest-api").trim();
        let methods = methods.trim_start_matches("~^(").trim_end_matches(")$");
        found.extend(methods.split('|').map(|method| endpoint(method, path)));
    }
    assert_eq!(found, routed_to_ingest_api());
}

#[test]
fn gateway_routes_match_the_table() {
    let text = read("k8s/ingress/gateway.yaml");
    let matches = text.lines().filter_map(|line| line.trim().strip_prefix("- {method: "));
    let found: BTreeSet<_> = matches
        .map(|line| {
            let method = line.split(',').next().expect("a method");
            endpoint(method, between(line, "{type: Exact, value: ", "}"))
        })
        .collect();
    assert_eq!(found, routed_to_ingest_api());
}

#[test]
fn operations_guide_matches_the_table() {
    let text = read("docs/OPERATIONS.md");
    let section = between(&text, "\n## Single entry point\n", "\n## ");
    let mut found = BTreeSet::new();
    for row in section.lines().filter(|line| line.ends_with("| ingest-api |")) {
        let mut cells = row.split('|').skip(1);
        let (paths, list) = (cells.next().expect("paths"), cells.next().expect("methods"));
        for path in paths.split('`').filter(|path| path.starts_with('/')) {
            found.extend(methods(list.trim()).map(|method| endpoint(method, path)));
        }
    }
    assert_eq!(found, routed_to_ingest_api());
}

/// Returns the endpoints in the tables of a section: the first cell of a row contains code such as
/// `GET /v1/plays?limit=`. A method alone applies to the next path.
fn documented_endpoints(section: &str) -> BTreeSet<Endpoint> {
    let mut found = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split('|').nth(1).expect("a row has cells");
        let mut methods = Vec::new();
        for code in cell.split('`').skip(1).step_by(2) {
            let mut words = code.split(' ');
            methods.extend(words.next());
            let Some(path) = words.next() else { continue };
            let path = path.split('?').next().expect("a path");
            found.extend(methods.drain(..).map(|method| endpoint(method, path)));
        }
    }
    found
}

#[test]
fn api_document_lists_the_routes_of_the_table() {
    let text = read("docs/API.md");
    for (section, is_ingest) in [("ingest-api", true), ("list-api", false)] {
        let documented =
            documented_endpoints(between(&text, &format!("\n## {section}\n"), "\n## "));
        let expected: BTreeSet<_> = ROUTES
            .iter()
            .flat_map(|route| methods(route.methods).map(move |method| (route, method)))
            .filter(|(route, method)| {
                let is_served = methods(route.ingest_methods).any(|one| one == *method);
                is_served == is_ingest && !["HEAD", "OPTIONS"].contains(method)
            })
            .map(|(route, method)| endpoint(method, route.path))
            // Both APIs serve these paths. The document describes them in its introduction.
            .filter(|(_, path)| !["/", "/docs", "/openapi.json", "/health"].contains(&&**path))
            .collect();
        // A path that exists with and without a trailing slash can be listed once.
        let canonical = |endpoints: &BTreeSet<Endpoint>| -> BTreeSet<Endpoint> {
            endpoints
                .iter()
                .map(|(method, path)| endpoint(method, path.trim_end_matches('/')))
                .collect()
        };
        assert_eq!(canonical(&documented), canonical(&expected), "{section}");
        assert!(documented.is_subset(&expected), "{section}: {documented:?}");
    }
}

/// Returns the texts in backquotes.
fn codes(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The scope, the patterns of a key, and the claims of a token that a method requires.
type Rights = [BTreeSet<String>; 3];

#[test]
fn api_document_lists_the_rights_of_the_table() {
    let text = read("docs/API.md");
    let mut documented: BTreeMap<Endpoint, Rights> = BTreeMap::new();
    let section = between(&text, "\n### Rights\n", "\n### ");
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').collect();
        for code in codes(cells[1]) {
            let (method, path) = code.split_once(' ').expect("a method and a path");
            let rights = [2, 3, 4].map(|cell| codes(cells[cell]));
            let endpoint = endpoint(method, path.trim_end_matches('/'));
            assert!(documented.insert(endpoint, rights).is_none(), "{code} has two rows");
        }
    }
    let to_set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut expected: BTreeMap<Endpoint, Rights> = BTreeMap::new();
    for route in ALL.into_iter().flatten() {
        for (method, access) in route.endpoints().filter(|(method, _)| *method != "HEAD") {
            let Some(scope) = access.scope() else { continue };
            let rights =
                [to_set(&[scope.as_str()]), to_set(access.patterns()), to_set(access.claims())];
            expected.insert(endpoint(method, route.path.trim_end_matches('/')), rights);
        }
    }
    assert_eq!(documented, expected);
}

#[test]
fn api_document_lists_the_rights_of_frames_and_feeds() {
    let text = read("docs/API.md");
    let section = between(&text, "\n### Rights\n", "\n### ");
    let (_, frames) = section.split_once("\nOf the client frames, ").expect("a paragraph");
    let (protected, rest) = frames.split_once(" need the same rights").expect("a sentence");
    let (public, _) = rest.split_once("\nneed none.").expect("a sentence");
    let expected = |is_public: bool| -> BTreeSet<String> {
        let rows = FRAMES.iter().filter(|row| (row.access == RouteAccess::Public) == is_public);
        rows.map(|row| row.kind.to_owned()).collect()
    };
    assert_eq!((codes(protected), codes(public)), (expected(false), expected(true)));

    let to_set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let rows = section.lines().filter(|line| line.starts_with("| feed `"));
    let documented: Vec<[BTreeSet<String>; 3]> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').collect();
            [1, 2, 3].map(|cell| codes(cells[cell]))
        })
        .collect();
    let expected =
        FEEDS.map(|row| [to_set(&[row.feed.as_str()]), to_set(row.patterns), to_set(row.claims)]);
    assert_eq!(documented, expected);
}

#[test]
fn asyncapi_document_has_the_frames_of_the_table() {
    let text = read("docs/asyncapi.json");
    let document: serde_json::Value = text.parse().expect("valid JSON");
    let operations = document["operations"].as_object().expect("an object");
    let received: BTreeSet<_> = operations
        .iter()
        .filter(|(_, operation)| operation["action"] == "receive")
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(received, BTreeSet::from(FRAMES.map(|frame| frame.kind)));
    for frame in FRAMES {
        let schema = &document["components"]["schemas"][frame.kind]["properties"]["type"];
        assert_eq!(schema["const"], frame.kind, "{schema}");
    }
}

/// A service could register a path that is not in the table, or a path without the access check,
/// and make it public by mistake.
#[test]
fn services_register_only_routes_of_the_table() {
    // The constructors of paths, and the only files that may contain them.
    const CONSTRUCTORS: [(&str, &[&str]); 6] = [
        ("Route::public(", &["routes/mod.rs", "server/admin.rs", "server/static_file.rs"]),
        ("web::resource(", &["server/endpoint.rs"]),
        ("Resource::new(", &[]),
        ("web::scope(", &[]),
        (".route(\"", &[]),
        (".route(&", &[]),
    ];
    for file in product_code() {
        let text = fs::read_to_string(&file).expect("readable");
        for (constructor, allowed) in CONSTRUCTORS {
            let is_allowed =
                allowed.iter().any(|path| file == root().join("crates/http/src").join(path));
            assert!(is_allowed || !text.contains(constructor), "{}", file.display());
        }
    }
}
