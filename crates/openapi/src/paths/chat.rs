//! `/chat`, `/chat/{id}`, `/chats/{username}`: messages in a short form.

use mayfly_core::limits;
use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::HttpMethod;

use super::messages;
use crate::{
    operation::{
        Api::{Ingest, List},
        Operation,
    },
    schema::{array, closed_object, content, nullable, schema_ref, text, ttl, username},
};

pub(crate) const TAG: &str = "chat";
const JSON: &str = "application/json";

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        post_chat("/chat", "post_chat"),
        post_chat("/chat/", "post_chat_with_slash"),
        messages::get_message(List, "/chat/{id}", "get_chat").tag(TAG),
        get_chats(),
    ]
}

fn post_chat(path: &'static str, id: &str) -> Operation {
    let chat = closed_object()
        .property("username", username())
        .property("text", text())
        .property("timeout", nullable(ttl()).description(Some("Time to live in seconds.")))
        .required("username")
        .required("text");
    let example = json!({"username": "fred", "text": "Yo what up!", "timeout": 60});
    Operation::new(Ingest, HttpMethod::Post, path, id, "Send a message to a username")
        .tag(TAG)
        .description("The message is added to the inbox of `username`.")
        .required_body([(JSON, content(chat, example))])
        .problems(&[Code::InvalidJson])
        .accepts_message(201)
        .writes_to_inbox()
}

fn get_chats() -> Operation {
    let taken = array(schema_ref("Message"), 0, limits::PAGE_ITEMS_MAX as usize);
    Operation::new(List, HttpMethod::Get, "/chats/{username}", "get_chats", "Take an inbox with GET")
        .tag(TAG)
        .description("The returned messages expire in the same atomic step. Without `MAYFLY_LIST__CHATS_GET=on`, the response is 405.")
        .username_parameter()
        .limit_parameter(limits::PAGE_ITEMS_MAX)
        .response(200, "The taken messages.", JSON, content(taken, json!([messages::example()])))
        .problems(&[Code::MethodNotAllowed])
        .rejects_cross_origin()
        .store_problems()
}
