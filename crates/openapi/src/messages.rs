//! Messages: `/v1/messages`, batches, a message by id, and `/dummy`.

use mayfly_core::limits;
use mayfly_http::Code;
use serde_json::{Value, json};
use utoipa::openapi::{HttpMethod, content::ContentBuilder};

use crate::{
    header::Answered,
    operation::{
        Api::{Ingest, List},
        Operation,
    },
    schema::{
        AnySchema, array, boolean, channel, closed_object, content, cursor, instant, message_id,
        named, object, or_null, place, string, text, ttl, username, whole, with_any_of, words,
    },
};

pub(crate) const TAG: &str = "messages";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

pub(crate) fn schemas() -> Vec<(&'static str, AnySchema)> {
    vec![
        ("NewMessage", new_message()),
        ("Message", message()),
        ("AcceptedBatch", accepted_batch()),
        ("Page", page()),
    ]
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        post_message(),
        post_messages(),
        post_dummy(),
        list_messages(),
        get_message(List, "/v1/messages/{id}", "get_message").tag(TAG),
        delete_message(),
    ]
}

fn post_message() -> Operation {
    let new = content(named("NewMessage"), example_new());
    Operation::new(Ingest, HttpMethod::Post, "/v1/messages", "post_message", "Send a message")
        .tag(TAG)
        .says("Answered once the message stands in the queue: from then on it is found by its id and cannot be lost.")
        .body([(JSON, new)])
        .refuses(&[Code::InvalidJson])
        .accepts_one(202)
        .goes_into_an_inbox()
}

fn post_messages() -> Operation {
    let example = json!([example_new(), {"channel": "deploys", "data": {"build": 7}, "ttl": 3600}]);
    let items = array(named("NewMessage"), 1, limits::BATCH_MESSAGES_MAX);
    let lines = ContentBuilder::new()
        .schema(Some(
            string().description(Some("A `NewMessage` on each line; blank lines are left out.")),
        ))
        .example(Some("{\"text\":\"one\"}\n{\"text\":\"two\"}\n".into()))
        .build();
    let ids = json!({"accepted": 2, "ids": [ID, "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d48"]});
    Operation::new(Ingest, HttpMethod::Post, "/v1/messages/batch", "post_messages", "Send many messages")
        .tag(TAG)
        .says(format!(
            "1 to {} messages, at most {} bytes, as an array or as lines: all are accepted, or none. What is wrong with \
             an item is named with its index, as in `[3].text`.",
            limits::BATCH_MESSAGES_MAX,
            limits::BATCH_BYTES_MAX
        ))
        .body([(JSON, content(items, example)), (NDJSON, lines)])
        .refuses(&[Code::InvalidJson])
        .answers(202, "All are accepted.", JSON, content(named("AcceptedBatch"), ids))
        .writes_items()
        .goes_into_an_inbox()
}

fn post_dummy() -> Operation {
    let body = content(named("Json"), json!({"any": ["JSON", 1.0, null]}));
    Operation::new(Ingest, HttpMethod::Post, "/dummy", "post_dummy", "Send any JSON document")
        .tag(TAG)
        .says("Becomes a message on the channel `dummy` with the document as its `data`.")
        .body([(JSON, body)])
        .refuses(&[Code::InvalidJson])
        .accepts_one(202)
}

fn list_messages() -> Operation {
    let page = json!({"items": [example()], "next_cursor": "1a2f", "has_more": true});
    Operation::new(List, HttpMethod::Get, "/v1/messages", "list_messages", "Walk through everything that was ever stored")
        .tag(TAG)
        .says(
            "In the order of persistence, page by page. A walk while others write misses nothing and repeats nothing, \
             and page one million costs what page one costs.",
        )
        .limit(limits::PAGE_ITEMS_DEFAULT)
        .query("cursor", cursor(), "The `next_cursor` of the page before. It belongs to its order.")
        .query("channel", channel(), "Only messages of this channel.")
        .query("username", username(), "Only messages of this username.")
        .query(
            "order",
            words(["asc", "desc"]).default(Some("asc".into())),
            "`desc` walks from the newest. Given with a cursor, it must be the cursor's.",
        )
        .answers(200, "A page.", JSON, content(named("Page"), page))
        .headers(&[Answered::Link])
        .refuses(&[Code::InvalidCursor])
        .reads_a_store()
}

/// A message by its id, which has two names.
pub(crate) fn get_message(api: crate::operation::Api, path: &'static str, id: &str) -> Operation {
    Operation::new(api, HttpMethod::Get, path, id, "Read a message, live or expired")
        .says("A message that was taken or deleted shows the moment of that as `expires_at`.")
        .named("id", message_id(), "The id of the message. What cannot be an id is 404.")
        .answers(200, "The message.", JSON, content(named("Message"), example()))
        .refuses(&[Code::NotFound, Code::Overloaded])
        .reads_a_store()
}

fn delete_message() -> Operation {
    Operation::new(
        List,
        HttpMethod::Delete,
        "/v1/messages/{id}",
        "delete_message",
        "Expire a message now",
    )
    .tag(TAG)
    .says("Also 204 where it was expired already. It is still found by its id.")
    .named("id", message_id(), "The id of the message. What cannot be an id is 404.")
    .answers_plainly(204, "It is expired.")
    .refuses(&[Code::NotFound, Code::Overloaded])
    .reads_a_store()
}

impl Operation {
    /// It accepts one message, and answers with it.
    pub(crate) fn accepts_one(self, status: u16) -> Self {
        self.answers(status, "It is accepted.", JSON, content(named("Message"), example()))
            .headers(&[Answered::Location(
                "Where the message is; absolute where `MAYFLY_PUBLIC__LIST_URL` is set.",
            )])
            .writes_items()
    }

    /// It writes into inboxes, which may be full.
    pub(crate) fn goes_into_an_inbox(self) -> Self {
        self.refuses(&[Code::InboxFull])
    }

    /// What goes for everything that writes messages or plays; follows its answers.
    pub(crate) fn writes_items(self) -> Self {
        self.may_be_repeated(limits::WRITE_REPEATABLE_FOR).limited_per_client().refuses(&[
            Code::InvalidField,
            Code::Unavailable,
            Code::Overloaded,
        ])
    }

    /// How many items an answer may hold.
    pub(crate) fn limit(self, default: u32) -> Self {
        let limit = whole(1, limits::PAGE_ITEMS_MAX as usize).default(Some(default.into()));
        let text = format!(
            "How many at most. An answer ends earlier at {} bytes of items.",
            limits::PAGE_BYTES_MAX
        );
        self.query("limit", limit, &text)
    }
}

fn new_message() -> AnySchema {
    let fields = closed_object()
        .property("channel", or_null(channel().default(Some("lobby".into()))))
        .property(
            "username",
            or_null(username()).description(Some("Without it the message lies in no inbox.")),
        )
        .property("text", or_null(text()))
        .property("city", or_null(place()))
        .property("state", or_null(place()))
        .property("data", named("Json"))
        .property(
            "ttl",
            or_null(ttl())
                .description(Some("Seconds to live. 0: delivered live and stored, born expired.")),
        );
    with_any_of(fields, ["text", "data"])
        .description(Some(format!(
            "What may be sent: `text` or `data`, or both, in at most {} bytes. Null stands for a field that is not \
             there; a field that comes twice is refused.",
            limits::MESSAGE_BYTES_MAX
        )))
        .into()
}

fn message() -> AnySchema {
    const FIELDS: [&str; 9] =
        ["id", "channel", "username", "text", "city", "state", "data", "created_at", "expires_at"];
    let fields = object()
        .description(Some("A message that was accepted."))
        .property("id", message_id().description(Some("A UUIDv7.")))
        .property("channel", channel())
        .property("username", or_null(username()))
        .property("text", or_null(text()))
        .property("city", or_null(place()))
        .property("state", or_null(place()))
        .property("data", named("Json"))
        .property("created_at", instant())
        .property("expires_at", instant());
    FIELDS.into_iter().fold(fields, utoipa::openapi::ObjectBuilder::required).into()
}

fn accepted_batch() -> AnySchema {
    object()
        .property("accepted", whole(1, limits::BATCH_MESSAGES_MAX))
        .property(
            "ids",
            array(message_id(), 1, limits::BATCH_MESSAGES_MAX)
                .description(Some("In the order of the batch.")),
        )
        .required("accepted")
        .required("ids")
        .into()
}

fn page() -> AnySchema {
    object()
        .property("items", array(named("Message"), 0, limits::PAGE_ITEMS_MAX as usize))
        .property(
            "next_cursor",
            or_null(cursor()).description(Some(
                "Asks for what comes after, also for what comes later. Null only where nothing was ever listed.",
            )),
        )
        .property("has_more", boolean())
        .required("items")
        .required("next_cursor")
        .required("has_more")
        .into()
}

const ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

/// A message as it is sent.
fn example_new() -> Value {
    json!({"username": "fred", "text": "Yo what up!", "city": "New York", "state": "NY", "ttl": 60})
}

/// A message as it is answered.
pub(crate) fn example() -> Value {
    json!({
        "id": ID,
        "channel": "lobby",
        "username": "fred",
        "text": "Yo what up!",
        "city": "New York",
        "state": "NY",
        "data": null,
        "created_at": "2026-11-20T19:07:00.123Z",
        "expires_at": "2026-11-20T19:08:00.123Z",
    })
}
