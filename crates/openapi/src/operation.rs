//! One operation: what it takes, and everything that it may answer.

use std::{collections::BTreeMap, time::Duration};

use mayfly_core::limits;
use mayfly_http::Code;
use mayfly_runtime::settings::Public;
use utoipa::openapi::{
    Content, HttpMethod, Ref, RefOr, Required, Response, ResponseBuilder, Server,
    path::{self, OperationBuilder, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    server::ServerBuilder,
};

use crate::{
    header::Answered,
    schema::{AnySchema, pattern},
};

/// Which service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Ingest,
    List,
    Both,
}

impl Api {
    /// Where it is for callers; without a public URL it is where the document came from.
    fn servers(self, public: &Public) -> Vec<Server> {
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

/// An operation in the making.
pub(crate) struct Operation {
    pub(crate) path: &'static str,
    pub(crate) method: HttpMethod,
    api: Api,
    inner: OperationBuilder,
    answers: Vec<(u16, ResponseBuilder)>,
    codes: Vec<Code>,
}

impl Operation {
    /// Begins an operation: its place, its stable id, what it does in a few words.
    pub(crate) fn new(
        api: Api,
        method: HttpMethod,
        path: &'static str,
        id: &str,
        summary: &str,
    ) -> Self {
        let inner = OperationBuilder::new().operation_id(Some(id)).summary(Some(summary));
        let codes = vec![Code::NotAcceptable];
        Self { path, method, api, inner, answers: Vec::new(), codes }
    }

    /// The heading it stands under.
    pub(crate) fn tag(self, tag: &str) -> Self {
        self.change(|inner| inner.tag(tag))
    }

    /// What more there is to say.
    pub(crate) fn says(self, text: impl Into<String>) -> Self {
        self.change(|inner| inner.description(Some(text)))
    }

    /// A name in the path.
    pub(crate) fn named(self, name: &str, schema: impl Into<AnySchema>, text: &str) -> Self {
        self.parameter(ParameterIn::Path, name, Required::True, schema, text)
    }

    /// A parameter that may be left out.
    pub(crate) fn query(self, name: &str, schema: impl Into<AnySchema>, text: &str) -> Self {
        self.parameter(ParameterIn::Query, name, Required::False, schema, text)
    }

    /// A parameter that must be there.
    pub(crate) fn needs(self, name: &str, schema: impl Into<AnySchema>, text: &str) -> Self {
        self.parameter(ParameterIn::Query, name, Required::True, schema, text)
    }

    fn parameter(
        self,
        place: ParameterIn,
        name: &str,
        required: Required,
        schema: impl Into<AnySchema>,
        text: &str,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .schema(Some(schema.into()))
            .description(Some(text));
        self.change(|inner| inner.parameter(parameter)).refuses(&[Code::InvalidField])
    }

    /// A body, which must be there, in one of these forms.
    pub(crate) fn body(self, forms: impl IntoIterator<Item = (&'static str, Content)>) -> Self {
        self.takes_body(Required::True, forms)
    }

    /// A body, which may be left out, in this form.
    pub(crate) fn may_have_body(self, kind: &'static str, content: Content) -> Self {
        self.takes_body(Required::False, [(kind, content)])
    }

    fn takes_body(
        self,
        required: Required,
        forms: impl IntoIterator<Item = (&'static str, Content)>,
    ) -> Self {
        let body = forms
            .into_iter()
            .fold(RequestBodyBuilder::new(), |body, (kind, content)| body.content(kind, content))
            .required(Some(required))
            .build();
        self.change(|inner| inner.request_body(Some(body))).refuses(&[
            Code::InvalidField,
            Code::RequestTimeout,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
        ])
    }

    /// An answer with a body.
    pub(crate) fn answers(self, status: u16, text: &str, kind: &str, content: Content) -> Self {
        self.answers_plainly(status, text).with(|answer| answer.content(kind, content))
    }

    /// An answer without a body.
    pub(crate) fn answers_plainly(mut self, status: u16, text: &str) -> Self {
        let answer = ResponseBuilder::new().description(text);
        self.answers.push((status, answer));
        self.headers(&Answered::ALWAYS)
    }

    /// Headers of the answer that was named last.
    pub(crate) fn headers(self, headers: &[Answered]) -> Self {
        self.with(|answer| {
            headers
                .iter()
                .fold(answer, |answer, header| answer.header(header.name(), header.describe()))
        })
    }

    /// Codes that it may refuse with, or fail with.
    pub(crate) fn refuses(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    /// It reads from a store, which may be away, or hold what nobody put there.
    pub(crate) fn reads_a_store(self) -> Self {
        self.refuses(&[Code::Internal, Code::Unavailable])
    }

    /// It may be repeated under an `Idempotency-Key`; follows its answers.
    pub(crate) fn may_be_repeated(self, known_for: Duration) -> Self {
        let key = pattern("^[ -~]+$")
            .min_length(Some(1))
            .max_length(Some(limits::IDEMPOTENCY_KEY_CHARS_MAX));
        let text = format!(
            "Names this request for {}: sent again under it, it gets the first answer and does nothing; \
             another request under it is refused.",
            in_words(known_for)
        );
        self.parameter(ParameterIn::Header, "Idempotency-Key", Required::False, key, &text)
            .headers(&[Answered::IdempotentReplayed])
            .refuses(&[Code::IdempotencyKeyReused])
    }

    /// A client may do it only so often; follows its answers.
    pub(crate) fn limited_per_client(self) -> Self {
        self.headers(&Answered::LIMIT).refuses(&[Code::RateLimited])
    }

    fn change(mut self, change: impl FnOnce(OperationBuilder) -> OperationBuilder) -> Self {
        self.inner = change(self.inner);
        self
    }

    fn with(mut self, change: impl FnOnce(ResponseBuilder) -> ResponseBuilder) -> Self {
        if let Some((status, answer)) = self.answers.pop() {
            self.answers.push((status, change(answer)));
        }
        self
    }

    /// The operation as the document has it; `refused` is told of each problem that it names.
    pub(crate) fn finish(
        self,
        public: &Public,
        mut refused: impl FnMut(&[Code]) -> String,
    ) -> path::Operation {
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in Code::ALL.into_iter().filter(|code| self.codes.contains(code)) {
            by_status.entry(code.status().as_u16()).or_default().push(code);
        }
        let answers = self
            .answers
            .into_iter()
            .map(|(status, answer)| (status.to_string(), RefOr::<Response>::from(answer.build())));
        let problems = by_status.into_iter().map(|(status, codes)| {
            (status.to_string(), Ref::from_response_name(refused(&codes)).into())
        });
        answers
            .chain(problems)
            .fold(self.inner, |inner, (status, answer)| inner.response(status, answer))
            .servers(Some(self.api.servers(public)))
            .build()
    }
}

fn in_words(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    if minutes.is_multiple_of(60) {
        format!("{} hours", minutes / 60)
    } else {
        format!("{minutes} minutes")
    }
}
