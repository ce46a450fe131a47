//! A builder for operations: parameters, bodies, responses and problems.

use std::{collections::BTreeMap, time::Duration};

use mayfly_core::limits;
use mayfly_http::Code;
use mayfly_runtime::{Settings, settings::PublicSettings};
use utoipa::openapi::{
    Content, HttpMethod, Ref, RefOr, Required, Response, ResponseBuilder, Server,
    path::{self, OperationBuilder, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    server::ServerBuilder,
};

use crate::{
    header::ResponseHeader,
    schema::{AnySchema, pattern},
    security,
};

/// The APIs that support an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Ingest,
    List,
    Both,
}

impl Api {
    /// Returns the servers. Without a public URL, the server is the origin of the document.
    fn servers(self, public: &PublicSettings) -> Vec<Server> {
        let server = |url: &str, name: &str| {
            let url = if url.is_empty() { "/" } else { url };
            ServerBuilder::new().url(url).description(Some(name)).build()
        };
        let ingest = server(&public.ingest_url, "ingest-api");
        let list = server(&public.list_url, "list-api");
        match self {
            Self::Ingest => vec![ingest],
            Self::List => vec![list],
            Self::Both if ingest.url == list.url => vec![server(&list.url, "either API")],
            Self::Both => vec![list, ingest],
        }
    }
}

/// An operation under construction.
pub(crate) struct Operation {
    pub(crate) path: &'static str,
    pub(crate) method: HttpMethod,
    api: Api,
    inner: OperationBuilder,
    responses: Vec<(u16, ResponseBuilder)>,
    codes: Vec<Code>,
}

impl Operation {
    /// Creates an operation with its stable ID and its summary. Every operation can return 406, and
    /// every operation with a method other than `GET` can return 403.
    pub(crate) fn new(
        api: Api,
        method: HttpMethod,
        path: &'static str,
        id: &str,
        summary: &str,
    ) -> Self {
        let inner = OperationBuilder::new().operation_id(Some(id)).summary(Some(summary));
        let mut codes = vec![Code::NotAcceptable];
        if method != HttpMethod::Get {
            codes.push(Code::Forbidden);
        }
        Self { path, method, api, inner, responses: Vec::new(), codes }
    }

    /// Sets the tag.
    pub(crate) fn tag(self, tag: &str) -> Self {
        self.map_inner(|inner| inner.tag(tag))
    }

    /// Sets the description.
    pub(crate) fn description(self, text: impl Into<String>) -> Self {
        self.map_inner(|inner| inner.description(Some(text)))
    }

    /// Adds a path parameter.
    pub(crate) fn path_parameter(
        self,
        name: &str,
        schema: impl Into<AnySchema>,
        text: &str,
    ) -> Self {
        self.parameter(ParameterIn::Path, name, Required::True, schema, text)
    }

    /// Adds an optional query parameter.
    pub(crate) fn optional_query(
        self,
        name: &str,
        schema: impl Into<AnySchema>,
        text: &str,
    ) -> Self {
        self.parameter(ParameterIn::Query, name, Required::False, schema, text)
    }

    /// Adds a required query parameter.
    pub(crate) fn required_query(
        self,
        name: &str,
        schema: impl Into<AnySchema>,
        text: &str,
    ) -> Self {
        self.parameter(ParameterIn::Query, name, Required::True, schema, text)
    }

    fn parameter(
        self,
        location: ParameterIn,
        name: &str,
        required: Required,
        schema: impl Into<AnySchema>,
        text: &str,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(location)
            .required(required)
            .schema(Some(schema.into()))
            .description(Some(text));
        self.map_inner(|inner| inner.parameter(parameter)).problems(&[Code::InvalidField])
    }

    /// Requires a body in one of these media types.
    pub(crate) fn required_body(
        self,
        media_types: impl IntoIterator<Item = (&'static str, Content)>,
    ) -> Self {
        self.add_body(Required::True, media_types)
    }

    /// Allows a body in this media type.
    pub(crate) fn optional_body(self, media_type: &'static str, content: Content) -> Self {
        self.add_body(Required::False, [(media_type, content)])
    }

    fn add_body(
        self,
        required: Required,
        media_types: impl IntoIterator<Item = (&'static str, Content)>,
    ) -> Self {
        let body = media_types
            .into_iter()
            .fold(RequestBodyBuilder::new(), |body, (media_type, content)| {
                body.content(media_type, content)
            })
            .required(Some(required))
            .build();
        self.map_inner(|inner| inner.request_body(Some(body))).problems(&[
            Code::InvalidField,
            Code::RequestTimeout,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
        ])
    }

    /// Adds a response with a body.
    pub(crate) fn response(
        self,
        status: u16,
        text: &str,
        media_type: &str,
        content: Content,
    ) -> Self {
        self.empty_response(status, text)
            .map_last_response(|response| response.content(media_type, content))
    }

    /// Adds a response without a body.
    pub(crate) fn empty_response(mut self, status: u16, text: &str) -> Self {
        let response = ResponseBuilder::new().description(text);
        self.responses.push((status, response));
        self.response_headers(&ResponseHeader::ALWAYS)
    }

    /// Adds headers to the last response.
    pub(crate) fn response_headers(self, headers: &[ResponseHeader]) -> Self {
        self.map_last_response(|response| {
            headers.iter().fold(response, |response, header| {
                response.header(header.name(), header.describe())
            })
        })
    }

    /// Adds problem codes.
    pub(crate) fn problems(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    /// Adds the problem that rejects requests from an origin that is not allowed, for a `GET` that
    /// writes or takes messages.
    pub(crate) fn rejects_cross_origin(self) -> Self {
        self.problems(&[Code::Forbidden])
    }

    /// Adds the problems for operations that access a store.
    pub(crate) fn store_problems(self) -> Self {
        self.problems(&[Code::Internal, Code::Unavailable, Code::Overloaded])
    }

    /// Adds the request header `Idempotency-Key`, the response header `Idempotent-Replayed`, and
    /// the problem for a reused key. Must be called after the responses are added.
    pub(crate) fn idempotent(self, ttl: Duration) -> Self {
        let key = pattern("^[ -~]+$")
            .min_length(Some(1))
            .max_length(Some(limits::IDEMPOTENCY_KEY_CHARS_MAX));
        let text = format!(
            "A key that makes retries of this request safe for {}. A retry receives the response to the \
             first request and is not executed again. A different request with the same key is rejected.",
            format_duration(ttl)
        );
        self.parameter(ParameterIn::Header, "Idempotency-Key", Required::False, key, &text)
            .response_headers(&[ResponseHeader::IdempotentReplayed])
            .problems(&[Code::IdempotencyKeyReused])
    }

    /// Adds the rate-limit headers and problem. Must be called after the responses are added.
    pub(crate) fn rate_limited(self) -> Self {
        self.response_headers(&ResponseHeader::LIMIT).problems(&[Code::RateLimited])
    }

    fn map_inner(mut self, change: impl FnOnce(OperationBuilder) -> OperationBuilder) -> Self {
        self.inner = change(self.inner);
        self
    }

    fn map_last_response(
        mut self,
        change: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
    ) -> Self {
        if let Some((status, response)) = self.responses.pop() {
            self.responses.push((status, change(response)));
        }
        self
    }

    /// Builds the operation. The table of routes determines who may call it. `register_problems`
    /// registers a response for a set of codes and returns the name of the response.
    pub(crate) fn build(
        mut self,
        settings: &Settings,
        mut register_problems: impl FnMut(&[Code]) -> String,
    ) -> path::Operation {
        let access = security::find_access(self.path, &self.method);
        let requirements = security::requirements(access, &settings.auth);
        if !requirements.is_empty() {
            self.codes.extend(security::problems(access));
        }
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in Code::ALL.into_iter().filter(|code| self.codes.contains(code)) {
            by_status.entry(code.status().as_u16()).or_default().push(code);
        }
        let responses = self.responses.into_iter().map(|(status, response)| {
            (status.to_string(), RefOr::<Response>::from(response.build()))
        });
        let problems = by_status.into_iter().map(|(status, codes)| {
            (status.to_string(), Ref::from_response_name(register_problems(&codes)).into())
        });
        let mut operation = responses
            .chain(problems)
            .fold(self.inner, |inner, (status, response)| inner.response(status, response))
            .servers(Some(self.api.servers(&settings.public)))
            .build();
        if let (false, Some(rights)) = (requirements.is_empty(), security::describe(access)) {
            let texts: Vec<_> = operation.description.take().into_iter().chain([rights]).collect();
            operation.description = Some(texts.join("\n\n"));
        }
        operation.security = (!requirements.is_empty()).then_some(requirements);
        operation
    }
}

fn format_duration(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    if minutes.is_multiple_of(60) {
        format!("{} hours", minutes / 60)
    } else {
        format!("{minutes} minutes")
    }
}
