//! The inbox of a username: reading and taking.

use mayfly_core::limits;
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use super::messages;
use crate::{
    operation::{Api::List, Operation},
    schema::{AnySchema, array, boolean, content, object, schema_ref, username},
};

pub(crate) const TAG: &str = "inbox";
const JSON: &str = "application/json";

pub(crate) fn schemas() -> Vec<(&'static str, AnySchema)> {
    let inbox = object()
        .property(
            "items",
            array(schema_ref("Message"), 0, limits::PAGE_ITEMS_MAX as usize)
                .description(Some("The messages, oldest first.")),
        )
        .property("has_more", boolean())
        .required("items")
        .required("has_more");
    vec![("Inbox", inbox.into())]
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![list_inbox(), take_inbox()]
}

fn list_inbox() -> Operation {
    let path = "/v1/users/{username}/messages";
    Operation::new(List, HttpMethod::Get, path, "list_inbox", "Read an inbox")
        .tag(TAG)
        .description(
            "Returns the unexpired messages of a username, oldest first, without taking them.",
        )
        .username_parameter()
        .limit_parameter(limits::PAGE_ITEMS_DEFAULT)
        .response(200, "The messages.", JSON, content(schema_ref("Inbox"), example()))
        .store_problems()
}

fn take_inbox() -> Operation {
    let path = "/v1/users/{username}/messages/take";
    Operation::new(List, HttpMethod::Post, path, "take_inbox", "Take an inbox")
        .tag(TAG)
        .description(
            "Returns the messages and expires them in one atomic step; each message is returned to exactly one \
             caller. With an `Idempotency-Key`, a caller that did not receive the response can retry and receives \
             the same messages.",
        )
        .username_parameter()
        .limit_parameter(limits::PAGE_ITEMS_MAX)
        .response(200, "The taken messages.", JSON, content(schema_ref("Inbox"), example()))
        .idempotent(limits::TAKE_IDEMPOTENCY_TTL)
        .store_problems()
}

impl Operation {
    /// Adds the path parameter `username`.
    pub(crate) fn username_parameter(self) -> Self {
        self.path_parameter(
            "username",
            username(),
            "The owner of the inbox. Case and whitespace are significant.",
        )
    }
}

fn example() -> Value {
    json!({"items": [messages::example()], "has_more": false})
}
