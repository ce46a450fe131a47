//! The inbox of a username: looked at, and taken.

use mayfly_core::limits;
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::{
    messages,
    operation::{Api::List, Operation},
    schema::{AnySchema, array, boolean, content, named, object, username},
};

pub(crate) const TAG: &str = "inbox";
const JSON: &str = "application/json";

pub(crate) fn schemas() -> Vec<(&'static str, AnySchema)> {
    let inbox = object()
        .property(
            "items",
            array(named("Message"), 0, limits::PAGE_ITEMS_MAX as usize)
                .description(Some("Oldest first.")),
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
    Operation::new(List, HttpMethod::Get, path, "list_inbox", "Look at an inbox")
        .tag(TAG)
        .says("The live messages of a username, oldest first; they stay where they are.")
        .of_username()
        .limit(limits::PAGE_ITEMS_DEFAULT)
        .answers(200, "What is in it.", JSON, content(named("Inbox"), example()))
        .reads_a_store()
}

fn take_inbox() -> Operation {
    let path = "/v1/users/{username}/messages/take";
    Operation::new(List, HttpMethod::Post, path, "take_inbox", "Take an inbox")
        .tag(TAG)
        .says(
            "What is returned is expired in the same step, and goes to exactly one caller. Under an `Idempotency-Key` a \
             caller whose answer was lost gets the same items again.",
        )
        .of_username()
        .limit(limits::PAGE_ITEMS_MAX)
        .answers(200, "What was in it.", JSON, content(named("Inbox"), example()))
        .may_be_repeated(limits::TAKE_REPEATABLE_FOR)
        .reads_a_store()
}

impl Operation {
    /// Whose inbox it is.
    pub(crate) fn of_username(self) -> Self {
        self.named("username", username(), "Whose inbox; case and blanks matter.")
    }
}

fn example() -> Value {
    json!({"items": [messages::example()], "has_more": false})
}
