//! The message: what a client may send, and what exists once it is accepted.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    clock::Timestamp,
    document::{Document, DocumentError},
    field::{Channel, FieldErrors, Place, Text, Ttl, Username},
    limits,
    message_id::MessageId,
};

/// Why what a client sent is no message.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is no JSON; where it goes wrong is said.
    #[error("{0}")]
    InvalidJson(String),
    /// It is no JSON somewhere in a batch; which item is said.
    #[error("an item is not valid JSON")]
    InvalidItems(FieldErrors),
    /// Fields break the rules that are named.
    #[error("a field is wrong")]
    InvalidFields(FieldErrors),
}

/// What a client may send: checked, not yet accepted.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Where it is published.
    pub channel: Channel,
    /// Whose inbox it goes into.
    pub username: Option<Username>,
    /// What it says.
    pub text: Option<Text>,
    /// Where it comes from.
    pub city: Option<Place>,
    /// Where that city is.
    pub state: Option<Place>,
    /// What it carries.
    pub data: Option<Document>,
    /// How long it lives.
    pub ttl: Ttl,
}

/// A message that exists. Its fields are written in this order, `expires_at` last: what expires a
/// message replaces the last [`EXPIRES_AT_TAIL_BYTES`] of its JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// Its id, which sorts by the time of acceptance.
    pub id: MessageId,
    /// Where it is published.
    pub channel: Channel,
    /// Whose inbox it lies in.
    pub username: Option<Username>,
    /// What it says.
    pub text: Option<Text>,
    /// Where it comes from.
    pub city: Option<Place>,
    /// Where that city is.
    pub state: Option<Place>,
    /// What it carries.
    pub data: Option<Document>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it stops to live, or stopped.
    pub expires_at: Timestamp,
}

/// Bytes at the end of a message's JSON that hold the value of `expires_at`: the instant, a quote
/// and a brace.
pub const EXPIRES_AT_TAIL_BYTES: usize = Timestamp::TEXT_BYTES + 2;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageBody<'a> {
    channel: Option<String>,
    username: Option<String>,
    text: Option<String>,
    city: Option<String>,
    state: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    ttl: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatBody {
    username: Option<String>,
    text: Option<String>,
    timeout: Option<i64>,
}

/// What `/message/write/` takes, from the query or from a form: all four are needed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteForm {
    /// Who writes.
    pub username: Option<String>,
    /// Where from.
    pub city: Option<String>,
    /// Where that city is.
    pub state: Option<String>,
    /// The text.
    pub message: Option<String>,
}

const MISSING: &str = "must be there";

impl NewMessage {
    /// Reads the body of `POST /v1/messages`, or one item of a batch.
    pub fn from_json(json: &str) -> Result<Self, Refusal> {
        let body: MessageBody = parse_body(json)?;
        let mut errors = FieldErrors::default();
        let text = optional(&mut errors, "text", body.text, Text::parse);
        let data = body.data.and_then(|data| check_document(&mut errors, data.get()));
        if body_says_nothing(&errors, text.as_ref(), data.as_ref()) {
            errors.push("text", "or data must be there");
        }
        let message = Self {
            channel: optional(&mut errors, "channel", body.channel, Channel::parse)
                .unwrap_or_default(),
            username: optional(&mut errors, "username", body.username, Username::parse),
            text,
            city: optional(&mut errors, "city", body.city, Place::parse),
            state: optional(&mut errors, "state", body.state, Place::parse),
            data,
            ttl: optional(&mut errors, "ttl", body.ttl, Ttl::from_secs).unwrap_or_default(),
        };
        if errors.is_empty() { Ok(message) } else { Err(Refusal::InvalidFields(errors)) }
    }

    /// Reads the body of `POST /chat`: a username and a text, perhaps a timeout in seconds.
    pub fn from_chat(json: &str) -> Result<Self, Refusal> {
        let body: ChatBody = parse_body(json)?;
        let mut errors = FieldErrors::default();
        let username = required(&mut errors, "username", body.username, Username::parse);
        let text = required(&mut errors, "text", body.text, Text::parse);
        let ttl = optional(&mut errors, "timeout", body.timeout, Ttl::from_secs);
        match (username, text, errors.is_empty()) {
            (Some(username), Some(text), true) => Ok(Self {
                username: Some(username),
                text: Some(text),
                ttl: ttl.unwrap_or_default(),
                ..Self::empty(Channel::default())
            }),
            _ => Err(Refusal::InvalidFields(errors)),
        }
    }

    /// Reads what `/message/write/` was sent.
    pub fn from_write_form(form: WriteForm) -> Result<Self, Refusal> {
        let mut errors = FieldErrors::default();
        let username = required(&mut errors, "username", form.username, Username::parse);
        let city = required(&mut errors, "city", form.city, Place::parse);
        let state = required(&mut errors, "state", form.state, Place::parse);
        let text = required(&mut errors, "message", form.message, Text::parse);
        if !errors.is_empty() {
            return Err(Refusal::InvalidFields(errors));
        }
        Ok(Self { username, city, state, text, ..Self::empty(Channel::default()) })
    }

    /// Reads the body of `POST /dummy`: any JSON document, `null` too.
    pub fn from_document(json: &str) -> Result<Self, Refusal> {
        match Document::parse(json) {
            Ok(document) => {
                Ok(Self { data: Some(document), ..Self::empty(Channel::dummy()) })
            }
            Err(DocumentError::Syntax(error)) => Err(Refusal::InvalidJson(error.to_string())),
            Err(DocumentError::Rule(rule)) => {
                Err(Refusal::InvalidFields(FieldErrors::of("data", rule)))
            }
        }
    }

    fn empty(channel: Channel) -> Self {
        Self {
            channel,
            username: None,
            text: None,
            city: None,
            state: None,
            data: None,
            ttl: Ttl::default(),
        }
    }

    /// Makes the message that is accepted at `now`.
    #[must_use]
    pub fn accept(self, id: MessageId, now: Timestamp) -> Message {
        Message {
            id,
            channel: self.channel,
            username: self.username,
            text: self.text,
            city: self.city,
            state: self.state,
            data: self.data,
            created_at: now,
            expires_at: now.plus(self.ttl.as_duration()),
        }
    }
}

impl Message {
    /// The message as clients see it: one line of JSON, made once and passed on as bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        write_json(self)
    }

    /// How long the message is still to live at `now`; zero once it is expired.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> std::time::Duration {
        self.expires_at.since(now)
    }
}

fn write_json(message: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(512);
    serde_json::to_writer(&mut json, message)
        .expect("invariant: a message has only string keys, and a Vec takes every byte");
    json
}

/// Reads a batch sent as a JSON array.
pub fn parse_batch_array(json: &str) -> Result<Vec<NewMessage>, Refusal> {
    let items: Vec<&RawValue> = parse_body(json)?;
    parse_items(items.into_iter().map(RawValue::get))
}

/// Reads a batch sent as NDJSON: one message a line, blank lines left out.
pub fn parse_batch_lines(lines: &str) -> Result<Vec<NewMessage>, Refusal> {
    parse_items(lines.lines().map(str::trim).filter(|line| !line.is_empty()))
}

fn parse_items<'a>(items: impl Iterator<Item = &'a str>) -> Result<Vec<NewMessage>, Refusal> {
    let mut messages = Vec::new();
    let (mut errors, mut any_syntax) = (FieldErrors::default(), false);
    for (index, item) in items.enumerate() {
        if index == limits::BATCH_MESSAGES_MAX {
            return Err(batch_size_refused());
        }
        match parse_item(item) {
            Ok(message) => messages.push(message),
            Err(Refusal::InvalidJson(detail)) => {
                any_syntax = true;
                errors.push(format!("[{index}]"), format!("is not valid JSON: {detail}"));
            }
            Err(Refusal::InvalidFields(item) | Refusal::InvalidItems(item)) => {
                errors.append_item(index, item);
            }
        }
    }
    match (errors.is_empty(), any_syntax) {
        (true, _) if messages.is_empty() => Err(batch_size_refused()),
        (true, _) => Ok(messages),
        (false, true) => Err(Refusal::InvalidItems(errors)),
        (false, false) => Err(Refusal::InvalidFields(errors)),
    }
}

fn parse_item(item: &str) -> Result<NewMessage, Refusal> {
    if item.len() > limits::MESSAGE_BYTES_MAX {
        return Err(Refusal::InvalidFields(FieldErrors::of("", "must be at most 65536 bytes")));
    }
    NewMessage::from_json(item)
}

fn batch_size_refused() -> Refusal {
    Refusal::InvalidFields(FieldErrors::of("", "a batch must hold 1 to 1000 messages"))
}

fn body_says_nothing(errors: &FieldErrors, text: Option<&Text>, data: Option<&Document>) -> bool {
    text.is_none()
        && data.is_none()
        && !errors.iter().any(|error| error.field == "text" || error.field == "data")
}

fn check_document(errors: &mut FieldErrors, json: &str) -> Option<Document> {
    match Document::parse(json) {
        Ok(document) => Some(document),
        Err(error) => {
            errors.push("data", error.to_string());
            None
        }
    }
}

fn optional<I, T>(
    errors: &mut FieldErrors,
    field: &str,
    value: Option<I>,
    parse: impl FnOnce(I) -> Result<T, &'static str>,
) -> Option<T> {
    value.and_then(|value| errors.check(field, parse(value)))
}

fn required<I, T>(
    errors: &mut FieldErrors,
    field: &str,
    value: Option<I>,
    parse: impl FnOnce(I) -> Result<T, &'static str>,
) -> Option<T> {
    if value.is_none() {
        errors.push(field, MISSING);
    }
    optional(errors, field, value, parse)
}

/// Reads JSON into `T`. The way that succeeds is the quick one; only what fails is read a second
/// time, to find the name of the field.
fn parse_body<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(json).map_err(|error| {
        if !error.is_data() {
            return Refusal::InvalidJson(error.to_string());
        }
        let deserializer = &mut serde_json::Deserializer::from_str(json);
        let path = serde_path_to_error::deserialize::<_, T>(deserializer)
            .err()
            .map(|error| error.path().to_string())
            .unwrap_or_default();
        Refusal::InvalidFields(name_field(&path, &error.to_string()))
    })
}

/// Turns an error of serde into a field and a rule. Unknown and duplicate fields have no path of
/// their own; serde quotes their name instead.
fn name_field(path: &str, error: &str) -> FieldErrors {
    let rule = error.split(" at line ").next().unwrap_or(error);
    let quoted = rule.split('`').nth(1);
    let field = match quoted {
        Some(name) if rule.starts_with("unknown field") || rule.starts_with("duplicate field") => {
            name
        }
        _ if path == "." || path == "?" => "",
        _ => path,
    };
    FieldErrors::of(field, rule)
}

/// A message as it is read back from where it was put, nothing checked again: from its JSON by a
/// worker that stores it, from a row by what answers with it. Writes the same JSON as [`Message`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessageView<'a> {
    /// Its id.
    pub id: MessageId,
    /// Where it was published.
    #[serde(borrow)]
    pub channel: std::borrow::Cow<'a, str>,
    /// Whose inbox it lay in.
    pub username: Option<String>,
    /// What it says.
    pub text: Option<String>,
    /// Where it comes from.
    pub city: Option<String>,
    /// Where that city is.
    pub state: Option<String>,
    /// What it carries, as JSON text.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it stops to live.
    pub expires_at: Timestamp,
}

impl<'a> MessageView<'a> {
    /// Reads a message from the JSON that [`Message::to_json`] made.
    pub fn from_json(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The message as clients see it, one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        write_json(self)
    }
}

/// The JSON of a message with another `expires_at`, if that is earlier; else as it is.
#[must_use]
pub fn expire_json(mut json: Vec<u8>, at: Timestamp) -> Vec<u8> {
    if let Some(start) = json.len().checked_sub(EXPIRES_AT_TAIL_BYTES) {
        let at = at.to_string();
        let tail = &mut json[start..start + Timestamp::TEXT_BYTES];
        if at.as_bytes() < &*tail {
            tail.copy_from_slice(at.as_bytes());
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message_id::IdGenerator;

    const NOW: Timestamp = Timestamp::from_millis(1_795_201_620_123);

    fn id() -> MessageId {
        "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("it is an id")
    }

    fn fields_of(refusal: Refusal) -> Vec<(String, String)> {
        match refusal {
            Refusal::InvalidFields(errors) | Refusal::InvalidItems(errors) => {
                errors.into_iter().map(|error| (error.field, error.message)).collect()
            }
            Refusal::InvalidJson(detail) => panic!("no field is named, but: {detail}"),
        }
    }

    #[test]
    fn the_json_of_a_message_is_what_clients_rely_on() {
        let sent = r#"{"username":"fred","text":"Yo \"what\" up!","city":"New York","state":"NY",
            "data":{ "b":1.0, "a":[] },"ttl":60}"#;
        let message = NewMessage::from_json(sent).expect("it is valid").accept(id(), NOW);
        insta::assert_snapshot!(
            String::from_utf8(message.to_json()).expect("it is UTF-8"),
            @r#"{"id":"019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47","channel":"lobby","username":"fred","text":"Yo \"what\" up!","city":"New York","state":"NY","data":{"b":1.0,"a":[]},"created_at":"2026-11-20T19:07:00.123Z","expires_at":"2026-11-20T19:08:00.123Z"}"#
        );
    }

    #[test]
    fn a_message_is_read_back_as_it_was_written() {
        let sent = r#"{"channel":"c","text":"é","data":[1.10]}"#;
        let message = NewMessage::from_json(sent).expect("it is valid").accept(id(), NOW);
        let json = message.to_json();
        let view = MessageView::from_json(&json).expect("it parses");
        assert_eq!((view.id, &*view.channel, view.created_at), (id(), "c", NOW));
        assert_eq!(view.text.as_deref(), Some("é"));
        assert_eq!(view.data.map(RawValue::get), Some("[1.10]"));
        assert_eq!(view.to_json(), json);
    }

    #[test]
    fn expiring_a_message_changes_the_end_of_its_json_and_never_prolongs_it() {
        let message = NewMessage::from_json(r#"{"text":"x"}"#).expect("it is valid");
        let message = message.accept(id(), NOW);
        let at = NOW.plus(std::time::Duration::from_secs(1));
        let expired = expire_json(message.to_json(), at);
        let by_hand = Message { expires_at: at, ..message.clone() }.to_json();
        assert_eq!(expired, by_hand);
        let later = NOW.plus(std::time::Duration::from_secs(3_600));
        assert_eq!(expire_json(message.to_json(), later), message.to_json());
    }

    #[test]
    fn every_wrong_field_is_named_with_its_rule() {
        let sent = r#"{"channel":"a b","username":"","text":"","city":"","state":"","ttl":-1,"data":"\u0000"}"#;
        let refusal = NewMessage::from_json(sent).expect_err("all is wrong");
        let fields: Vec<_> = fields_of(refusal).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["text", "data", "channel", "username", "city", "state", "ttl"]);
    }

    #[test]
    fn wrong_types_unknown_and_duplicate_fields_are_named() {
        for (sent, field) in [
            (r#"{"text":1}"#, "text"),
            (r#"{"text":"x","ttl":1.5}"#, "ttl"),
            (r#"{"text":"x","ttl":"60"}"#, "ttl"),
            (r#"{"text":"x","ttl":99999999999999999999}"#, "ttl"),
            (r#"{"text":"x","colour":"red"}"#, "colour"),
            (r#"{"text":"x","text":"y"}"#, "text"),
            (r"[]", ""),
            (r#""x""#, ""),
            (r"{}", "text"),
            (r#"{"data":null}"#, "text"),
            (r#"{"data":1e400}"#, "data"),
        ] {
            let refusal = NewMessage::from_json(sent).expect_err("it is wrong");
            assert_eq!(fields_of(refusal)[0].0, field, "{sent}");
        }
    }

    #[test]
    fn what_is_no_json_is_called_so() {
        for sent in ["", "{", "{\"text\":\"x\"} x", "\u{feff}{\"text\":\"x\"}", "{\"text\":\"\\ud800\"}"] {
            let refusal = NewMessage::from_json(sent).expect_err("it is wrong");
            assert!(matches!(refusal, Refusal::InvalidJson(_)), "{sent}: {refusal}");
        }
    }

    #[test]
    fn a_batch_names_the_index_of_what_is_wrong() {
        let refusal = parse_batch_array(r#"[{"text":"x"},{"text":""},7]"#).expect_err("it is wrong");
        let fields: Vec<_> = fields_of(refusal).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["[1].text", "[2]"]);
        let refusal = parse_batch_lines("{\"text\":\"x\"}\n\n{\n").expect_err("it is wrong");
        assert!(matches!(&refusal, Refusal::InvalidItems(_)));
        assert_eq!(fields_of(refusal)[0].0, "[1]");
    }

    #[test]
    fn a_batch_holds_1_to_1000_messages() {
        let array = |count| format!("[{}]", vec![r#"{"text":"x"}"#; count].join(","));
        assert_eq!(parse_batch_array(&array(1_000)).expect("it is full").len(), 1_000);
        assert!(parse_batch_array(&array(1_001)).is_err());
        assert!(parse_batch_array("[]").is_err());
        assert!(parse_batch_lines("\n").is_err());
    }

    #[test]
    fn a_chat_needs_a_username_and_a_text() {
        let chat = NewMessage::from_chat(r#"{"username":"kiran","text":"hi","timeout":5}"#);
        let chat = chat.expect("it is valid").accept(IdGenerator::default().next_id(NOW), NOW);
        assert_eq!(chat.remaining(NOW).as_secs(), 5);
        let refusal = NewMessage::from_chat(r"{}").expect_err("both are missing");
        assert_eq!(fields_of(refusal).len(), 2);
    }

    #[test]
    fn any_document_is_a_message_on_the_channel_dummy() {
        for sent in ["null", "1", "\"x\"", "[]", "{\"a\":{}}"] {
            let message = NewMessage::from_document(sent).expect("it is JSON").accept(id(), NOW);
            assert_eq!(message.channel.as_str(), "dummy");
            assert_eq!(message.data.as_ref().map(Document::as_str), Some(sent));
        }
    }
}
