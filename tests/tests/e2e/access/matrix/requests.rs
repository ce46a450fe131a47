//! A request for every row of the table of routes.

use std::fmt;

use mayfly_http::routes::{self, RouteAccess};
use mayfly_stack::Service;
use mayfly_tests::World;
use reqwest::{Client, RequestBuilder};
use serde_json::json;

use super::callers::Caller;
use crate::access::message;

/// The names in a request.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The username.
    pub username: &'a str,
    /// The ID of the video.
    pub video: &'a str,
    /// The host.
    pub host: &'a str,
    /// The ID of the message.
    pub message_id: &'a str,
}

/// A method of a route.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The path. A part in braces is a parameter.
    pub path: &'static str,
    /// The method.
    pub method: &'static str,
    /// The service that has the method.
    pub service: Service,
    /// The access that the table requires.
    pub access: RouteAccess,
}

/// Returns all endpoints of the table.
pub fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for (index, table) in routes::ALL.into_iter().enumerate() {
        for route in table {
            for (method, access) in route.endpoints() {
                let is_ingest = route.ingest_methods.split(", ").any(|one| one == method);
                let service = match (index, is_ingest) {
                    (0, true) => Service::IngestApi,
                    (0, false) => Service::ListApi,
                    _ => Service::WsFanout,
                };
                endpoints.push(Endpoint { path: route.path, method, service, access });
            }
        }
    }
    endpoints
}

impl Endpoint {
    /// Builds the request of a caller.
    ///
    /// # Panics
    /// If the table has a row for which no request is defined.
    pub fn build(
        &self,
        client: &Client,
        world: &World,
        caller: &Caller,
        names: &Names<'_>,
    ) -> RequestBuilder {
        let path = self
            .path
            .replace("{id}", names.message_id)
            .replace("{username}", names.username)
            .replace("{host}", names.host)
            .replace("{video_id}", names.video);
        let method = self.method.parse().expect("a method");
        let mut request = client.request(method, world.url(self.service, &path));
        if self.access == RouteAccess::KeyParameter {
            let key = caller.credentials.as_deref().map(|key| ("apikey", key));
            return request.query(&[("host", names.host)]).query(&Vec::from_iter(key));
        }
        if let Some(credentials) = &caller.credentials {
            request = request.bearer_auth(credentials);
        }
        self.add_parameters(request, names)
    }

    /// Adds the body or the query.
    fn add_parameters(&self, request: RequestBuilder, names: &Names<'_>) -> RequestBuilder {
        let text = message(names.channel, names.username, "x");
        match (self.method, self.path) {
            ("POST", "/v1/messages") => request.json(&text),
            ("POST", "/v1/messages/batch") => request.json(&[text]),
            ("POST", "/chat" | "/chat/") => {
                request.json(&json!({"username": names.username, "text": "x"}))
            }
            ("POST", "/dummy") => request.json(&json!({"any": "thing"})),
            ("GET" | "POST", "/message/write" | "/message/write/") => {
                let username = ("username", names.username);
                request.query(&[username, ("city", "c"), ("state", "s"), ("message", "m")])
            }
            ("POST", "/v1/plays") => request.json(&json!({"video_id": names.video})),
            ("POST", "/v1/visits") => {
                request.json(&json!({"host": names.host, "path": "/", "visitor": "v"}))
            }
            ("GET" | "HEAD", "/v1/hosts/{host}/history") => request.query(&[("path", "/")]),
            ("POST", "/v1/users/{username}/messages/take") | ("GET" | "HEAD" | "DELETE", _) => {
                request
            }
            (method, path) => panic!("no request is defined for {method} {path}"),
        }
    }

    /// Returns whether the request publishes a message that has no username in its body.
    pub fn is_without_username(&self) -> bool {
        self.path == "/dummy"
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)
    }
}
