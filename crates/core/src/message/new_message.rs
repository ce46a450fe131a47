//! Parses new messages from requests to all routes that write messages.

use serde::Deserialize;

use super::{
    NewMessage,
    definition::MessageBody,
    document::{Document, DocumentError},
    field::{Channel, Place, Text, Ttl, Username},
};
use crate::input::{FieldErrors, InputError, RequestBody, optional, parse_as, required};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatBody {
    username: Option<String>,
    text: Option<String>,
    timeout: Option<f64>,
}

impl RequestBody<'_> for ChatBody {
    fn find_rule(field: &str) -> Option<&'static str> {
        match field {
            "username" => Some(Username::RULE),
            "text" => Some(Text::RULE),
            "timeout" => Some(Ttl::RULE),
            _ => None,
        }
    }
}

/// The parameters of `/message/write/`, from the query or a form. All four are required.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteForm {
    /// The author.
    pub username: Option<String>,
    /// The city of origin.
    pub city: Option<String>,
    /// The state of the city.
    pub state: Option<String>,
    /// The text.
    pub message: Option<String>,
}

impl NewMessage {
    /// Parses the body of `POST /v1/messages`, or one item in a batch.
    pub fn from_json(json: &str) -> Result<Self, InputError> {
        let mut body: MessageBody = parse_as(json, '{', "must be an object")?;
        let mut errors = FieldErrors::default();
        // `text` or `data` must be present. Errors in these fields are reported first.
        let text = optional(&mut errors, "text", body.text.take(), Text::parse);
        let data = body.data.and_then(|data| parse_document(&mut errors, data.get()));
        if is_empty_body(&errors, text.as_ref(), data.as_ref()) {
            errors.push("text", "is required unless data is present");
        }
        let message = Self { text, data, ..body.validate(&mut errors) };
        if errors.is_empty() { Ok(message) } else { Err(InputError::InvalidFields(errors)) }
    }

    /// Parses the body of `POST /chat`: a username, a text and an optional timeout in seconds.
    pub fn from_chat(json: &str) -> Result<Self, InputError> {
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
                ..Self::default()
            }),
            _ => Err(InputError::InvalidFields(errors)),
        }
    }

    /// Validates the parameters of `/message/write/`.
    pub fn from_write_form(form: WriteForm) -> Result<Self, InputError> {
        let mut errors = FieldErrors::default();
        let username = required(&mut errors, "username", form.username, Username::parse);
        let city = required(&mut errors, "city", form.city, Place::parse);
        let state = required(&mut errors, "state", form.state, Place::parse);
        let text = required(&mut errors, "message", form.message, Text::parse);
        if !errors.is_empty() {
            return Err(InputError::InvalidFields(errors));
        }
        Ok(Self { username, text, city, state, ..Self::default() })
    }

    /// Parses the body of `POST /dummy`: any JSON document, including `null`.
    pub fn from_document(json: &str) -> Result<Self, InputError> {
        match Document::parse(json) {
            Ok(document) => {
                Ok(Self { channel: Channel::dummy(), data: Some(document), ..Self::default() })
            }
            Err(DocumentError::Syntax(error)) => Err(InputError::InvalidJson(error.to_string())),
            Err(DocumentError::Rule(rule)) => {
                Err(InputError::InvalidFields(FieldErrors::new("data", rule)))
            }
        }
    }
}

fn is_empty_body(errors: &FieldErrors, text: Option<&Text>, data: Option<&Document>) -> bool {
    text.is_none()
        && data.is_none()
        && !errors.iter().any(|error| error.field == "text" || error.field == "data")
}

fn parse_document(errors: &mut FieldErrors, json: &str) -> Option<Document> {
    match Document::parse(json) {
        Ok(document) => Some(document),
        Err(error) => {
            errors.push("data", error.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        message::{IdGenerator, MessageId},
    };

    const NOW: Timestamp = Timestamp::from_millis(1_795_201_620_123);

    fn id() -> MessageId {
        "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("it is an id")
    }

    #[test]
    fn every_invalid_field_is_reported() {
        let sent = r#"{"channel":"a b","username":"","text":"","city":"","state":"","ttl":-1,"data":"\u0000"}"#;
        let error = NewMessage::from_json(sent).expect_err("all are invalid");
        let fields: Vec<_> = error.into_fields().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["text", "data", "channel", "username", "city", "state", "ttl"]);
    }

    #[test]
    fn wrong_types_unknown_and_duplicate_fields_are_reported() {
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
            let error = NewMessage::from_json(sent).expect_err("it is invalid");
            assert_eq!(error.into_fields()[0].0, field, "{sent}");
        }
    }

    #[test]
    fn wrong_type_is_reported_with_the_rule_of_the_field() {
        for (sent, rule) in [
            (r#"{"text":"x","ttl":1.5}"#, Ttl::RULE),
            (r#"{"text":1}"#, Text::RULE),
            (r#"{"text":"x","username":[]}"#, Username::RULE),
        ] {
            let error = NewMessage::from_json(sent).expect_err("it is invalid");
            assert_eq!(error.into_fields()[0].1, rule, "{sent}");
        }
    }

    #[test]
    fn malformed_json_is_reported_as_such() {
        for sent in
            ["", "{", "{\"text\":\"x\"} x", "\u{feff}{\"text\":\"x\"}", "{\"text\":\"\\ud800\"}"]
        {
            let error = NewMessage::from_json(sent).expect_err("it is invalid");
            assert!(matches!(error, InputError::InvalidJson(_)), "{sent}: {error}");
        }
    }

    #[test]
    fn chat_requires_a_username_and_a_text() {
        let chat = NewMessage::from_chat(r#"{"username":"kiran","text":"hi","timeout":5}"#);
        let chat = chat.expect("it is valid").accept(IdGenerator::default().next_id(NOW), NOW);
        assert_eq!(chat.expires_at.since(NOW).as_secs(), 5);
        let error = NewMessage::from_chat(r"{}").expect_err("both are missing");
        assert_eq!(error.into_fields().len(), 2);
    }

    #[test]
    fn any_document_becomes_a_message_on_channel_dummy() {
        for sent in ["null", "1", "\"x\"", "[]", "{\"a\":{}}"] {
            let message = NewMessage::from_document(sent).expect("it is JSON").accept(id(), NOW);
            assert_eq!(message.channel.as_str(), "dummy");
            assert_eq!(message.data.as_ref().map(Document::as_str), Some(sent));
        }
    }
}
