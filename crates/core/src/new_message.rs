//! What a client may send: read from whatever form it came in, checked, not yet accepted.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    clock::Timestamp,
    document::{Document, DocumentError},
    field::{Channel, FieldErrors, Place, Text, Ttl, Username},
    message::Message,
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
    ttl: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatBody {
    username: Option<String>,
    text: Option<String>,
    timeout: Option<f64>,
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
        let body: MessageBody = parse_as(json, '{', "must be an object")?;
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
        let body: ChatBody = parse_as(json, '{', "must be an object")?;
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
        Ok(Self { username, text, city, state, ..Self::empty(Channel::default()) })
    }

    /// Reads the body of `POST /dummy`: any JSON document, `null` too.
    pub fn from_document(json: &str) -> Result<Self, Refusal> {
        match Document::parse(json) {
            Ok(document) => Ok(Self { data: Some(document), ..Self::empty(Channel::dummy()) }),
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

pub(crate) fn optional<I, T>(
    errors: &mut FieldErrors,
    field: &str,
    value: Option<I>,
    parse: impl FnOnce(I) -> Result<T, &'static str>,
) -> Option<T> {
    value.and_then(|value| errors.check(field, parse(value)))
}

pub(crate) fn required<I, T>(
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

/// Reads what begins like this, an object or an array. serde would take an array for an object, its items for the
/// fields in their order.
pub(crate) fn parse_as<'a, T: Deserialize<'a>>(
    json: &'a str,
    beginning: char,
    rule: &str,
) -> Result<T, Refusal> {
    if json.trim_ascii_start().starts_with(beginning) {
        return parse_body(json);
    }
    match serde_json::from_str::<IgnoredAny>(json) {
        Ok(_) => Err(Refusal::InvalidFields(FieldErrors::of("", rule))),
        Err(error) => Err(Refusal::InvalidJson(error.to_string())),
    }
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
    // What serde says of a wrong type is about its own types, not about the rule.
    let own = rule_of(field).filter(|_| rule.starts_with("invalid "));
    FieldErrors::of(field, own.unwrap_or(rule))
}

fn rule_of(field: &str) -> Option<&'static str> {
    match field {
        "channel" => Some(Channel::RULE),
        "username" => Some(Username::RULE),
        "text" => Some(Text::RULE),
        "city" | "state" => Some(Place::RULE),
        "ttl" | "timeout" => Some(Ttl::RULE),
        _ => None,
    }
}

#[cfg(test)]
impl Refusal {
    /// The wrong fields with their rules, in the order in which they were found.
    pub(crate) fn into_fields(self) -> Vec<(String, String)> {
        match self {
            Self::InvalidFields(errors) | Self::InvalidItems(errors) => {
                errors.into_iter().map(|error| (error.field, error.message)).collect()
            }
            Self::InvalidJson(detail) => panic!("no field is named, but: {detail}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message_id::IdGenerator;

    const NOW: Timestamp = Timestamp::from_millis(1_795_201_620_123);

    fn id() -> MessageId {
        "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("it is an id")
    }

    #[test]
    fn every_wrong_field_is_named_with_its_rule() {
        let sent = r#"{"channel":"a b","username":"","text":"","city":"","state":"","ttl":-1,"data":"\u0000"}"#;
        let refusal = NewMessage::from_json(sent).expect_err("all is wrong");
        let fields: Vec<_> = refusal.into_fields().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["text", "data", "channel", "username", "city", "state", "ttl"]);
    }

    #[test]
    fn wrong_types_unknown_and_duplicate_fields_are_named() {
        for (sent, field) in [
            (r#"{"text":1}"#, "text"),
            (r#"{"text":"x","ttl":1.5}"#, "ttl"),
            (r#"{"text":"x","ttl":60.000001}"#, "ttl"),
            (r#"{"text":"x","ttl":"60"}"#, "ttl"),
            (r#"{"text":"x","ttl":99999999999999999999}"#, "ttl"),
            (r#"{"text":"x","colour":"red"}"#, "colour"),
            (r#"{"text":"x","text":"y"}"#, "text"),
            (r"[]", ""),
            (r#"["lobby","fred","hi",null,null,null,60]"#, ""),
            (r#""x""#, ""),
            (r"{}", "text"),
            (r#"{"data":null}"#, "text"),
            (r#"{"data":1e400}"#, "data"),
        ] {
            let refusal = NewMessage::from_json(sent).expect_err("it is wrong");
            assert_eq!(refusal.into_fields()[0].0, field, "{sent}");
        }
    }

    #[test]
    fn a_wrong_type_is_told_by_the_rule_of_the_field() {
        for (sent, rule) in [
            (r#"{"text":"x","ttl":1.5}"#, Ttl::RULE),
            (r#"{"text":1}"#, Text::RULE),
            (r#"{"text":"x","username":[]}"#, Username::RULE),
        ] {
            let refusal = NewMessage::from_json(sent).expect_err("it is wrong");
            assert_eq!(refusal.into_fields()[0].1, rule, "{sent}");
        }
    }

    #[test]
    fn what_is_no_json_is_called_so() {
        for sent in
            ["", "{", "{\"text\":\"x\"} x", "\u{feff}{\"text\":\"x\"}", "{\"text\":\"\\ud800\"}"]
        {
            let refusal = NewMessage::from_json(sent).expect_err("it is wrong");
            assert!(matches!(refusal, Refusal::InvalidJson(_)), "{sent}: {refusal}");
        }
    }

    #[test]
    fn a_chat_needs_a_username_and_a_text() {
        let chat = NewMessage::from_chat(r#"{"username":"kiran","text":"hi","timeout":5}"#);
        let chat = chat.expect("it is valid").accept(IdGenerator::default().next_id(NOW), NOW);
        assert_eq!(chat.expires_at.since(NOW).as_secs(), 5);
        let refusal = NewMessage::from_chat(r"{}").expect_err("both are missing");
        assert_eq!(refusal.into_fields().len(), 2);
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
