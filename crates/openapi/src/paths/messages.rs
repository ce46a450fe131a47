//! Messages: `/v1/messages`, batches, a message by ID, and `/dummy`.

use mayfly_core::{limits, message::MessageBody};
use mayfly_http::Code;
use serde_json::{Value, json};
use utoipa::openapi::{HttpMethod, content::ContentBuilder};

use crate::{
    header::ResponseHeader,
    operation::{
        Api::{Ingest, List},
        Operation,
    },
    schema::{
        AnySchema, array, boolean, channel, content, cursor, integer, message_id, nullable, object,
        object_of, one_of, schema_ref, string, username, with_any_of,
    },
};

pub(crate) const TAG: &str = "messages";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

pub(crate) fn schemas() -> Vec<(&'static str, AnySchema)> {
    vec![("NewMessage", new_message()), ("AcceptedBatch", accepted_batch()), ("Page", page())]
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
    let new = content(schema_ref("NewMessage"), example_new());
    Operation::new(Ingest, HttpMethod::Post, "/v1/messages", "post_message", "Send a message")
        .tag(TAG)
        .description(
            "The response is sent after the message has been queued. From then on, the message is readable by ID and \
             no failure of a Mayfly process can lose it.",
        )
        .required_body([(JSON, new)])
        .problems(&[Code::InvalidJson])
        .accepts_message(202)
        .writes_to_inbox()
}

fn post_messages() -> Operation {
    let example = json!([example_new(), {"channel": "deploys", "data": {"build": 7}, "ttl": 3600}]);
    let items = array(schema_ref("NewMessage"), 1, limits::BATCH_MESSAGES_MAX);
    let lines = ContentBuilder::new()
        .schema(Some(
            string().description(Some("One `NewMessage` per line; blank lines are ignored.")),
        ))
        .example(Some("{\"text\":\"one\"}\n{\"text\":\"two\"}\n".into()))
        .build();
    let ids = json!({"accepted": 2, "ids": [ID, "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d48"]});
    Operation::new(Ingest, HttpMethod::Post, "/v1/messages/batch", "post_messages", "Send a batch of messages")
        .tag(TAG)
        .description(format!(
            "Accepts 1 to {} messages in at most {} bytes, as an array or as lines. Accepts all of them or none. Errors \
             name the index of the item, as in `[3].text`.",
            limits::BATCH_MESSAGES_MAX,
            limits::BATCH_BYTES_MAX
        ))
        .required_body([(JSON, content(items, example)), (NDJSON, lines)])
        .problems(&[Code::InvalidJson])
        .response(202, "All items are accepted.", JSON, content(schema_ref("AcceptedBatch"), ids))
        .accepts_items()
        .writes_to_inbox()
}

fn post_dummy() -> Operation {
    let body = content(schema_ref("Json"), json!({"any": ["JSON", 1.0, null]}));
    Operation::new(Ingest, HttpMethod::Post, "/dummy", "post_dummy", "Send any JSON document")
        .tag(TAG)
        .description("Sends a message to the channel `dummy` with the document as `data`.")
        .required_body([(JSON, body)])
        .problems(&[Code::InvalidJson])
        .accepts_message(202)
}

fn list_messages() -> Operation {
    let page = json!({"items": [example()], "next_cursor": "1a2f", "has_more": true});
    Operation::new(List, HttpMethod::Get, "/v1/messages", "list_messages", "List all stored messages")
        .tag(TAG)
        .description(
            "Returns messages in the order in which they were stored, page by page. Pagination neither skips nor \
             repeats messages while other clients write, and every page costs the same, regardless of filters and order.",
        )
        .limit_parameter(limits::PAGE_ITEMS_DEFAULT)
        .optional_query("cursor", cursor(), "`next_cursor` of the previous page. A cursor is valid for one `order`.")
        .optional_query("channel", channel(), "Only messages in this channel.")
        .optional_query("username", username(), "Only messages of this username.")
        .optional_query(
            "order",
            one_of(["asc", "desc"]).default(Some("asc".into())),
            "`desc` starts with the newest message. If `cursor` is given, `order` must match the cursor.",
        )
        .response(200, "A page of messages.", JSON, content(schema_ref("Page"), page))
        .response_headers(&[ResponseHeader::Link])
        .problems(&[Code::InvalidCursor])
        .store_problems()
}

/// Returns the operation that reads a message by ID. Two paths support the operation.
pub(crate) fn get_message(api: crate::operation::Api, path: &'static str, id: &str) -> Operation {
    Operation::new(api, HttpMethod::Get, path, id, "Read a message, live or expired")
        .description(
            "If the message was taken or deleted, `expires_at` is the time of the take or deletion.",
        )
        .path_parameter("id", message_id(), "The ID of the message. A malformed ID returns 404.")
        .response(200, "The message.", JSON, content(schema_ref("Message"), example()))
        .problems(&[Code::NotFound, Code::Overloaded])
        .store_problems()
}

fn delete_message() -> Operation {
    Operation::new(
        List,
        HttpMethod::Delete,
        "/v1/messages/{id}",
        "delete_message",
        "Expire a message immediately",
    )
    .tag(TAG)
    .description(
        "Also returns 204 if the message has already expired. The message remains readable by ID.",
    )
    .path_parameter("id", message_id(), "The ID of the message. A malformed ID returns 404.")
    .empty_response(204, "The message is expired.")
    .problems(&[Code::NotFound, Code::Overloaded])
    .store_problems()
}

impl Operation {
    /// Adds the response for operations that accept one message and return it.
    pub(crate) fn accepts_message(self, status: u16) -> Self {
        self.response(
            status,
            "The message is accepted.",
            JSON,
            content(schema_ref("Message"), example()),
        )
        .response_headers(&[ResponseHeader::Location(
            "The URL of the message; absolute if `MAYFLY_PUBLIC__LIST_URL` is set.",
        )])
        .accepts_items()
    }

    /// Adds the problems for operations that write to inboxes.
    pub(crate) fn writes_to_inbox(self) -> Self {
        self.problems(&[Code::InboxFull])
    }

    /// Adds the properties that are common to all operations that accept items. Must be called
    /// after the responses are added.
    pub(crate) fn accepts_items(self) -> Self {
        self.idempotent(limits::WRITE_IDEMPOTENCY_TTL).rate_limited().problems(&[
            Code::InvalidField,
            Code::Unavailable,
            Code::Overloaded,
        ])
    }

    /// Adds the query parameter `limit`.
    pub(crate) fn limit_parameter(self, default: u32) -> Self {
        let limit = integer(1, limits::PAGE_ITEMS_MAX as usize).default(Some(default.into()));
        let text = format!(
            "Maximum number of items. A response contains fewer items if their total size would exceed {} bytes.",
            limits::PAGE_BYTES_MAX
        );
        self.optional_query("limit", limit, &text)
    }
}

fn new_message() -> AnySchema {
    let fields = object_of::<MessageBody<'_>>().description(None::<String>);
    with_any_of(fields, ["text", "data"])
        .description(Some(format!(
            "A message to send, of at most {} bytes, with `text`, `data` or both. A null field is the same as an absent field; \
             duplicate fields are rejected.",
            limits::MESSAGE_BYTES_MAX
        )))
        .into()
}

fn accepted_batch() -> AnySchema {
    object()
        .property("accepted", integer(1, limits::BATCH_MESSAGES_MAX))
        .property(
            "ids",
            array(message_id(), 1, limits::BATCH_MESSAGES_MAX)
                .description(Some("The IDs in the order of the batch.")),
        )
        .required("accepted")
        .required("ids")
        .into()
}

fn page() -> AnySchema {
    object()
        .property("items", array(schema_ref("Message"), 0, limits::PAGE_ITEMS_MAX as usize))
        .property(
            "next_cursor",
            nullable(cursor()).description(Some(
                "The cursor for the next page. In ascending order, the next page also contains messages that are stored later. \
                 Null only if the list is empty.",
            )),
        )
        .property("has_more", boolean())
        .required("items")
        .required("next_cursor")
        .required("has_more")
        .into()
}

const ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

/// Returns an example of a new message.
fn example_new() -> Value {
    json!({"username": "fred", "text": "Yo what up!", "city": "New York", "state": "NY", "ttl": 60})
}

/// Returns an example of an accepted message.
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
