//! A request for an operation of the document.

use mayfly_stack::Service;
use mayfly_tests::Answer;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use serde_json::Value;

use super::document::Document;

/// A request, without its place.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The id of the operation.
    pub operation: String,
    /// Which of the servers that the document names.
    server: usize,
    /// What stands for the name in the path.
    name: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    body_never_comes: bool,
}

impl Request {
    /// Begins a request.
    pub fn of(operation: &str) -> Self {
        Self { operation: operation.to_owned(), ..Self::default() }
    }

    /// Puts a name into the path.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Puts parameters into the query.
    pub fn query(mut self, query: &str) -> Self {
        let joint = if self.query.is_empty() { "" } else { "&" };
        self.query = format!("{}{joint}{query}", self.query);
        self
    }

    /// Adds a header, in place of one of that name.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Leaves a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }

    /// Puts a body in, of a content type.
    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", kind)
    }

    /// Puts JSON in.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Announces a body that never comes.
    pub fn without_body(mut self) -> Self {
        self.body_never_comes = true;
        self
    }

    /// Sends it to a service.
    pub async fn send(&self, client: &Client, document: &Document, base: &str) -> Answer {
        let operation = document.operation(&self.operation);
        let method = operation.method.parse().expect("a method");
        let url = format!("{base}{}", self.path(&operation.path));
        let mut request = client.request(method, url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = if self.body_never_comes {
            let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
            reqwest::Body::wrap_stream(never)
        } else {
            reqwest::Body::from(self.body.clone())
        };
        Answer::of(request.body(body)).await
    }

    /// The path with its name and query.
    fn path(&self, pattern: &str) -> String {
        let name = utf8_percent_encode(&self.name, NON_ALPHANUMERIC).to_string();
        let path = match (pattern.find('{'), pattern.find('}')) {
            (Some(from), Some(to)) => format!("{}{name}{}", &pattern[..from], &pattern[to + 1..]),
            _ => pattern.to_owned(),
        };
        if self.query.is_empty() { path } else { format!("{path}?{}", self.query) }
    }

    /// Sends it to another of the servers that the document names.
    pub fn at_server(mut self, server: usize) -> Self {
        self.server = server;
        self
    }

    /// The service that it goes to.
    pub fn service(&self, document: &Document) -> Service {
        document.operation(&self.operation).services[self.server]
    }
}
