//! The parsed OpenAPI document: operations, documented responses, and validation of actual
//! responses.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::{Registry, Validator};
use mayfly_stack::Service;
use mayfly_tests::ApiResponse;
use serde_json::{Value, json};

const DOCUMENT_URL: &str = "https://mayfly.test/openapi.json";

/// Headers of every response.
const REQUIRED_HEADERS: [&str; 3] = ["x-request-id", "traceparent", "cache-control"];
/// Documented headers that are optional.
const OPTIONAL_HEADERS: [&str; 6] =
    ["ratelimit", "ratelimit-policy", "idempotent-replayed", "link", "age", "mayfly-stale"];
/// Headers of HTTP and of static files, which are not documented.
const UNDOCUMENTED_HEADERS: [&str; 12] = [
    "access-control-expose-headers",
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "referrer-policy",
    "retry-after",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
];

/// An outcome of an operation: operation ID, status, and problem code or an empty string.
pub type Outcome = (String, u16, String);

/// The OpenAPI document of a running stack.
pub struct Document {
    /// The document as served.
    pub json: Value,
    operations: BTreeMap<String, Operation>,
    registry: Registry<'static>,
}

/// An operation.
pub struct Operation {
    /// The path with parameters in braces.
    pub path: String,
    /// The method in upper case.
    pub method: String,
    /// The services that have the operation.
    pub services: Vec<Service>,
    /// The JSON pointer of each documented response.
    responses: BTreeMap<u16, String>,
}

impl Document {
    /// Parses a document.
    pub fn parse(json: Value) -> Self {
        let mut closed = json.clone();
        close(&mut closed, false);
        let registry = Registry::new().add(DOCUMENT_URL, closed).expect("a valid address");
        let registry = registry.prepare().expect("every reference is resolvable");
        let mut operations = BTreeMap::new();
        for (path, item) in members(&json["paths"]) {
            for (method, operation) in members(item) {
                let id = operation["operationId"].as_str().expect("an operation has an id");
                let at = format!("/paths/{}/{method}/responses", escape(path));
                let one = Operation {
                    path: path.clone(),
                    method: method.to_uppercase(),
                    services: services_of(operation),
                    responses: responses_of(&json, operation, &at),
                };
                assert!(
                    operations.insert(id.to_owned(), one).is_none(),
                    "duplicate operation {id}"
                );
            }
        }
        Self { json, operations, registry }
    }

    /// Returns all operations by ID.
    pub fn operations(&self) -> &BTreeMap<String, Operation> {
        &self.operations
    }

    /// Returns an operation.
    pub fn operation(&self, id: &str) -> &Operation {
        self.operations.get(id).unwrap_or_else(|| panic!("{id} is not in the document"))
    }

    /// Returns the methods of a path at a service. A literal path can also match a parameterized
    /// one.
    pub fn methods_of(&self, path: &str, service: Service) -> BTreeSet<String> {
        let parts: Vec<&str> = path.split('/').collect();
        let matches_pattern = |pattern: &str| {
            let pattern: Vec<&str> = pattern.split('/').collect();
            let is_match = |(expected, part): (&&str, &&str)| {
                expected == part || (expected.starts_with('{') && !part.is_empty())
            };
            pattern.len() == parts.len() && pattern.iter().zip(&parts).all(is_match)
        };
        let methods = |matches: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
            let all = self.operations.values().filter(|one| one.services.contains(&service));
            all.filter(|one| matches(&one.path)).map(|one| one.method.clone()).collect()
        };
        let own = methods(&|pattern| pattern == path);
        if own.is_empty() { methods(&matches_pattern) } else { own }
    }

    /// Returns all documented outcomes.
    pub fn outcomes(&self) -> BTreeSet<Outcome> {
        let mut outcomes = BTreeSet::new();
        for (id, operation) in &self.operations {
            for (status, at) in &operation.responses {
                let codes = self.at(&format!("{at}{CODES}")).as_array().cloned();
                let codes = codes.unwrap_or_else(|| vec![json!("")]);
                for code in codes {
                    let code = code.as_str().expect("a code is a string").to_owned();
                    outcomes.insert((id.clone(), *status, code));
                }
            }
        }
        outcomes
    }

    /// Validates a response.
    pub fn check(&self, id: &str, response: &ApiResponse) -> Result<Outcome, String> {
        let at = self.operation(id).responses.get(&response.status);
        let at = at.ok_or_else(|| format!("{} is not documented", response.status))?;
        self.check_headers(&format!("{at}/headers"), response)?;
        let kinds = self.at(&format!("{at}/content"));
        let kind = response.header("content-type").split(';').next().unwrap_or_default();
        if kinds.is_null() != response.body.is_empty() {
            return Err(format!("unexpected body of {} bytes", response.body.len()));
        }
        if !kinds.is_null() {
            let schema = format!("{at}/content/{}/schema", escape(kind));
            if self.at(&schema).is_null() {
                return Err(format!("`{kind}` is not documented"));
            }
            let body =
                if kind.ends_with("json") { response.json() } else { json!(response.text()) };
            self.check_value(&schema, &body)?;
        }
        let code = response.json()["code"].as_str().unwrap_or_default().to_owned();
        Ok((
            id.to_owned(),
            response.status,
            if response.status < 400 { String::new() } else { code },
        ))
    }

    /// Validates a value against the schema at a JSON pointer.
    pub fn check_value(&self, schema: &str, value: &Value) -> Result<(), String> {
        let validator = self.validator(schema);
        let wrong: Vec<_> = validator
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{schema}: {}", wrong.join("; "))) }
    }

    /// Returns the value at a JSON pointer, or null.
    pub fn at(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }

    fn validator(&self, schema: &str) -> Validator {
        let at = schema.replace('{', "%7B").replace('}', "%7D");
        let built = jsonschema::options()
            .with_registry(&self.registry)
            .should_validate_formats(true)
            .build(&json!({"$ref": format!("{DOCUMENT_URL}#{at}")}));
        built.unwrap_or_else(|error| panic!("{schema} is not a valid schema: {error}"))
    }

    fn check_headers(&self, at: &str, response: &ApiResponse) -> Result<(), String> {
        let known: BTreeMap<_, _> =
            members(self.at(at)).map(|(name, _)| (name.to_lowercase(), name)).collect();
        for name in REQUIRED_HEADERS.into_iter().chain(known.keys().map(String::as_str)) {
            if !response.headers.contains_key(name) && !OPTIONAL_HEADERS.contains(&name) {
                return Err(format!("{name} is missing"));
            }
        }
        for (name, value) in &response.headers {
            if UNDOCUMENTED_HEADERS.contains(&name.as_str()) && !known.contains_key(name.as_str()) {
                continue;
            }
            let documented = known.get(name.as_str());
            let documented = documented.ok_or_else(|| format!("{name} is not documented"))?;
            let value = value.to_str().map_err(|_| format!("{name} is not ASCII"))?;
            // Numeric header values are validated as numbers.
            let value = value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number));
            self.check_value(&format!("{at}/{}/schema", escape(documented)), &value)?;
        }
        Ok(())
    }
}

/// The JSON pointer of the problem codes, relative to a response.
const CODES: &str = "/content/application~1problem+json/schema/allOf/1/properties/code/enum";

fn services_of(operation: &Value) -> Vec<Service> {
    let servers = operation["servers"].as_array().expect("`servers` is set");
    let named = |server: &Value| match server["description"].as_str() {
        Some("ingest-api") => Service::IngestApi,
        Some("list-api") => Service::ListApi,
        other => panic!("unknown server {other:?}"),
    };
    servers.iter().map(named).collect()
}

fn responses_of(json: &Value, operation: &Value, at: &str) -> BTreeMap<u16, String> {
    let pointer = |status: &str, response: &Value| {
        let shared =
            response["$ref"].as_str().map(|shared| shared.trim_start_matches('#').to_owned());
        let pointer = shared.unwrap_or_else(|| format!("{at}/{status}"));
        assert!(json.pointer(&pointer).is_some(), "{pointer} is missing");
        (status.parse().expect("a status is a number"), pointer)
    };
    members(&operation["responses"]).map(|(status, response)| pointer(status, response)).collect()
}

/// Forbids additional properties, so that undocumented members are reported.
fn close(value: &mut Value, is_part: bool) {
    match value {
        Value::Object(object) => {
            if object.contains_key("properties") && !is_part {
                object.entry("additionalProperties").or_insert(json!(false));
            }
            for (name, member) in object.iter_mut() {
                match (name.as_str(), member) {
                    ("example" | "examples" | "enum" | "default", _) => {}
                    ("allOf" | "anyOf", Value::Array(parts)) => {
                        for part in parts {
                            close(part, true);
                        }
                    }
                    (_, member) => close(member, false),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, false)),
        _ => {}
    }
}

/// Returns the members of an object; nothing for other values.
pub fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Escapes a name for a JSON pointer.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
