//! A request to a documented operation.

use mayfly_stack::Service;
use mayfly_tests::ApiResponse;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use serde_json::Value;

use super::document::Document;

/// A request, independent of its target.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The operation ID.
    pub operation: String,
    /// The index of the documented server.
    server: usize,
    /// The value of the path parameter.
    name: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    is_body_withheld: bool,
}

impl Request {
    /// Creates a request.
    pub fn new(operation: &str) -> Self {
        Self { operation: operation.to_owned(), ..Self::default() }
    }

    /// Sets the path parameter.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Adds query parameters.
    pub fn query(mut self, query: &str) -> Self {
        let separator = if self.query.is_empty() { "" } else { "&" };
        self.query = format!("{}{separator}{query}", self.query);
        self
    }

    /// Sets or replaces a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Removes a header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }

    /// Sets the body and its content type.
    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", kind)
    }

    /// Sets a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Announces a body that is never sent.
    pub fn without_body(mut self) -> Self {
        self.is_body_withheld = true;
        self
    }

    /// Sends the request to a service.
    pub async fn send(&self, client: &Client, document: &Document, base: &str) -> ApiResponse {
        let operation = document.operation(&self.operation);
        let method = operation.method.parse().expect("a method");
        let url = format!("{base}{}", self.path(&operation.path));
        let mut request = client.request(method, url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = if self.is_body_withheld {
            let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
            reqwest::Body::wrap_stream(never)
        } else {
            reqwest::Body::from(self.body.clone())
        };
        ApiResponse::send(request.body(body)).await
    }

    /// Returns the path with its parameter and query.
    fn path(&self, pattern: &str) -> String {
        let name = utf8_percent_encode(&self.name, NON_ALPHANUMERIC).to_string();
        let path = match (pattern.find('{'), pattern.find('}')) {
            (Some(from), Some(to)) => format!("{}{name}{}", &pattern[..from], &pattern[to + 1..]),
            _ => pattern.to_owned(),
        };
        if self.query.is_empty() { path } else { format!("{path}?{}", self.query) }
    }

    /// Selects another documented server.
    pub fn at_server(mut self, server: usize) -> Self {
        self.server = server;
        self
    }

    /// Returns the service that receives the request.
    pub fn service(&self, document: &Document) -> Service {
        document.operation(&self.operation).services[self.server]
    }
}
