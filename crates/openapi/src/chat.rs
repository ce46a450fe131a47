//! `/chat`, `/chat/{id}`, `/chats/{username}`: messages in the short form.

use mayfly_core::limits;
use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::HttpMethod;

use crate::{
    messages,
    operation::{
        Api::{Ingest, List},
        Operation,
    },
    schema::{array, closed_object, content, named, or_null, text, ttl, username},
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
        .property("timeout", or_null(ttl()).description(Some("Seconds to live.")))
        .required("username")
        .required("text");
    let example = json!({"username": "fred", "text": "Yo what up!", "timeout": 60});
    Operation::new(Ingest, HttpMethod::Post, path, id, "Send a message to somebody")
        .tag(TAG)
        .says("The message lies in the inbox of `username`.")
        .body([(JSON, content(chat, example))])
        .refuses(&[Code::InvalidJson])
        .accepts_one(201)
        .goes_into_an_inbox()
}

fn get_chats() -> Operation {
    let taken = array(named("Message"), 0, limits::PAGE_ITEMS_MAX as usize);
    Operation::new(List, HttpMethod::Get, "/chats/{username}", "get_chats", "Take an inbox by GET")
        .tag(TAG)
        .says("What is returned is expired in the same step. `MAYFLY_LIST__CHATS_GET=off` switches it off: 405.")
        .of_username()
        .limit(limits::PAGE_ITEMS_MAX)
        .answers(200, "What was in it.", JSON, content(taken, json!([messages::example()])))
        .refuses(&[Code::MethodNotAllowed])
        .reads_a_store()
}
