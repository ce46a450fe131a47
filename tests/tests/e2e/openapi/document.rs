//! The document as a test reads it: its operations, what each may answer, and whether an answer is one of these.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::{Registry, Validator};
use mayfly_stack::Service;
use mayfly_tests::Answer;
use serde_json::{Value, json};

const PLACE: &str = "https://mayfly.test/openapi.json";

/// What stands on every answer.
const ALWAYS: [&str; 3] = ["x-request-id", "traceparent", "cache-control"];
/// What stands only on some of the answers that name it.
const SOMETIMES: [&str; 6] =
    ["ratelimit", "ratelimit-policy", "idempotent-replayed", "link", "age", "mayfly-stale"];
/// What is not of the API but of HTTP, and of files.
const OF_HTTP: [&str; 12] = [
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

/// One answer of one operation: its status, and its code where it is a problem.
pub type Outcome = (String, u16, String);

/// The document of a running Mayfly.
pub struct Document {
    /// As it was served.
    pub json: Value,
    operations: BTreeMap<String, Operation>,
    registry: Registry<'static>,
}

/// One operation of it.
pub struct Operation {
    /// With names in braces.
    pub path: String,
    /// In capitals.
    pub method: String,
    /// Who answers it.
    pub services: Vec<Service>,
    /// Where each answer stands in the document, as a JSON pointer.
    answers: BTreeMap<u16, String>,
}

impl Document {
    /// Reads the document.
    pub fn of(json: Value) -> Self {
        let mut closed = json.clone();
        close(&mut closed, false);
        let registry = Registry::new().add(PLACE, closed).expect("it is an address");
        let registry = registry.prepare().expect("every reference leads somewhere");
        let mut operations = BTreeMap::new();
        for (path, item) in members(&json["paths"]) {
            for (method, operation) in members(item) {
                let id = operation["operationId"].as_str().expect("an operation has an id");
                let at = format!("/paths/{}/{method}/responses", escape(path));
                let one = Operation {
                    path: path.clone(),
                    method: method.to_uppercase(),
                    services: services_of(operation),
                    answers: answers_of(&json, operation, &at),
                };
                assert!(operations.insert(id.to_owned(), one).is_none(), "{id} is there twice");
            }
        }
        Self { json, operations, registry }
    }

    /// All operations by their ids.
    pub fn operations(&self) -> &BTreeMap<String, Operation> {
        &self.operations
    }

    /// An operation.
    pub fn operation(&self, id: &str) -> &Operation {
        self.operations.get(id).unwrap_or_else(|| panic!("{id} is not in the document"))
    }

    /// The methods of a path at a service. A path without names that it does not know may fit one with a name.
    pub fn methods_of(&self, path: &str, service: Service) -> BTreeSet<String> {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |pattern: &str| {
            let pattern: Vec<&str> = pattern.split('/').collect();
            let same = |(wanted, part): (&&str, &&str)| {
                wanted == part || (wanted.starts_with('{') && !part.is_empty())
            };
            pattern.len() == parts.len() && pattern.iter().zip(&parts).all(same)
        };
        let methods = |is_it: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
            let all = self.operations.values().filter(|one| one.services.contains(&service));
            all.filter(|one| is_it(&one.path)).map(|one| one.method.clone()).collect()
        };
        let own = methods(&|pattern| pattern == path);
        if own.is_empty() { methods(&fits) } else { own }
    }

    /// Everything that any operation may answer.
    pub fn outcomes(&self) -> BTreeSet<Outcome> {
        let mut outcomes = BTreeSet::new();
        for (id, operation) in &self.operations {
            for (status, at) in &operation.answers {
                let codes = self.at(&format!("{at}{CODES}")).as_array().cloned();
                let codes = codes.unwrap_or_else(|| vec![json!("")]);
                for code in codes {
                    let code = code.as_str().expect("a code is a text").to_owned();
                    outcomes.insert((id.clone(), *status, code));
                }
            }
        }
        outcomes
    }

    /// Holds an answer against what the document says of it.
    pub fn check(&self, id: &str, answer: &Answer) -> Result<Outcome, String> {
        let at = self.operation(id).answers.get(&answer.status);
        let at = at.ok_or_else(|| format!("{} is not documented", answer.status))?;
        self.check_headers(&format!("{at}/headers"), answer)?;
        let kinds = self.at(&format!("{at}/content"));
        let kind = answer.header("content-type").split(';').next().unwrap_or_default();
        if kinds.is_null() != answer.body.is_empty() {
            return Err(format!("it has a body of {} bytes", answer.body.len()));
        }
        if !kinds.is_null() {
            let schema = format!("{at}/content/{}/schema", escape(kind));
            if self.at(&schema).is_null() {
                return Err(format!("`{kind}` is not documented"));
            }
            let body = if kind.ends_with("json") { answer.json() } else { json!(answer.text()) };
            self.check_value(&schema, &body)?;
        }
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        Ok((id.to_owned(), answer.status, if answer.status < 400 { String::new() } else { code }))
    }

    /// Holds a value against the schema at a place of the document.
    pub fn check_value(&self, schema: &str, value: &Value) -> Result<(), String> {
        let validator = self.validator(schema);
        let wrong: Vec<_> = validator
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{schema}: {}", wrong.join("; "))) }
    }

    /// What stands at a place of the document; null where nothing does.
    pub fn at(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }

    fn validator(&self, schema: &str) -> Validator {
        let at = schema.replace('{', "%7B").replace('}', "%7D");
        let built = jsonschema::options()
            .with_registry(&self.registry)
            .should_validate_formats(true)
            .build(&json!({"$ref": format!("{PLACE}#{at}")}));
        built.unwrap_or_else(|error| panic!("{schema} is no schema: {error}"))
    }

    fn check_headers(&self, at: &str, answer: &Answer) -> Result<(), String> {
        let known: BTreeMap<_, _> =
            members(self.at(at)).map(|(name, _)| (name.to_lowercase(), name)).collect();
        for name in ALWAYS.into_iter().chain(known.keys().map(String::as_str)) {
            if !answer.headers.contains_key(name) && !SOMETIMES.contains(&name) {
                return Err(format!("{name} is missing"));
            }
        }
        for (name, value) in &answer.headers {
            if OF_HTTP.contains(&name.as_str()) && !known.contains_key(name.as_str()) {
                continue;
            }
            let documented = known.get(name.as_str());
            let documented = documented.ok_or_else(|| format!("{name} is not documented"))?;
            let value = value.to_str().map_err(|_| format!("{name} is not ASCII"))?;
            // Numbers are written as texts in headers.
            let value = value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number));
            self.check_value(&format!("{at}/{}/schema", escape(documented)), &value)?;
        }
        Ok(())
    }
}

/// Where the codes of a problem stand, below its answer.
const CODES: &str = "/content/application~1problem+json/schema/allOf/1/properties/code/enum";

fn services_of(operation: &Value) -> Vec<Service> {
    let servers = operation["servers"].as_array().expect("an operation names its server");
    let named = |server: &Value| match server["description"].as_str() {
        Some("ingest-api") => Service::IngestApi,
        Some("list-api") => Service::ListApi,
        other => panic!("{other:?} is no server"),
    };
    servers.iter().map(named).collect()
}

fn answers_of(json: &Value, operation: &Value, at: &str) -> BTreeMap<u16, String> {
    let place = |status: &str, answer: &Value| {
        let shared =
            answer["$ref"].as_str().map(|shared| shared.trim_start_matches('#').to_owned());
        let place = shared.unwrap_or_else(|| format!("{at}/{status}"));
        assert!(json.pointer(&place).is_some(), "{place} is missing");
        (status.parse().expect("a status is a number"), place)
    };
    members(&operation["responses"]).map(|(status, answer)| place(status, answer)).collect()
}

/// Forbids every member that no schema names, so that an answer with more than is documented is seen.
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

/// The members of an object; none of anything else.
pub fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A name as a step of a JSON pointer.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
