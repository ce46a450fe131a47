//! The definition of a message. A macro generates the message types from the list of optional text
//! fields at the end of this file.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    document::Document,
    field::{Channel, Place, Text, Ttl, Username},
    id::MessageId,
};
use crate::{
    clock::Timestamp,
    input::{FieldErrors, RequestBody, optional},
};

/// Defines the types for a message as sent, as validated, as accepted and as read back, given the
/// optional text fields. Shared fields are in the same order in all types.
macro_rules! define_message {
    ($($(#[$doc:meta])+ $field:ident: $kind:ident,)+) => {
        /// A message as sent in a request, before its fields are validated. A null field is
        /// treated as absent.
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct MessageBody<'a> {
            /// The channel to publish on.
            #[cfg_attr(feature = "openapi", schema(value_type = Option<Channel>, default = "lobby"))]
            channel: Option<String>,
            $(
                $(#[$doc])+
                #[cfg_attr(feature = "openapi", schema(value_type = Option<$kind>))]
                pub(super) $field: Option<String>,
            )+
            /// The attached JSON document.
            #[serde(borrow)]
            #[cfg_attr(feature = "openapi", schema(value_type = Document, required = false))]
            pub(super) data: Option<&'a RawValue>,
            /// Time to live in seconds. With 0, the message is delivered live and stored, but
            /// is already expired.
            #[cfg_attr(feature = "openapi", schema(value_type = Option<Ttl>))]
            ttl: Option<f64>,
        }

        /// A validated message that has not been accepted yet.
        #[derive(Debug, Clone, Default)]
        pub struct NewMessage {
            /// The channel to publish on.
            pub channel: Channel,
            $($(#[$doc])+ pub $field: Option<$kind>,)+
            /// The attached JSON document.
            pub data: Option<Document>,
            /// The time to live.
            pub ttl: Ttl,
        }

        /// An accepted message.
        // The fields are serialized in this order. `expires_at` must be last, because `expire_json`
        // overwrites it at the end of the JSON.
        #[derive(Debug, Clone, Serialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct Message {
            /// The ID, a UUIDv7, which sorts by the time of acceptance.
            pub id: MessageId,
            /// The channel that the message is published on.
            pub channel: Channel,
            $(
                $(#[$doc])+
                #[cfg_attr(feature = "openapi", schema(required))]
                pub $field: Option<$kind>,
            )+
            /// The attached JSON document.
            #[cfg_attr(feature = "openapi", schema(value_type = Document))]
            pub data: Option<Document>,
            /// The time of acceptance.
            pub created_at: Timestamp,
            /// The expiry time.
            pub expires_at: Timestamp,
        }

        /// An accepted message, read back without repeating the validation. A view is parsed from
        /// JSON or created from a row in Postgres, and serializes to the same JSON as [`Message`].
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct MessageView<'a> {
            /// The ID.
            pub id: MessageId,
            /// The channel that the message was published on.
            #[serde(borrow)]
            pub channel: Cow<'a, str>,
            $($(#[$doc])+ pub $field: Option<String>,)+
            /// The attached document, as JSON text.
            #[serde(borrow)]
            pub data: Option<&'a RawValue>,
            /// The time of acceptance.
            pub created_at: Timestamp,
            /// The expiry time.
            pub expires_at: Timestamp,
        }

        impl MessageBody<'_> {
            /// Validates all fields except `data`, in the order of their declaration.
            pub(super) fn validate(self, errors: &mut FieldErrors) -> NewMessage {
                NewMessage {
                    channel: optional(errors, "channel", self.channel, Channel::parse)
                        .unwrap_or_default(),
                    $($field: optional(errors, stringify!($field), self.$field, $kind::parse),)+
                    data: None,
                    ttl: optional(errors, "ttl", self.ttl, Ttl::from_secs).unwrap_or_default(),
                }
            }
        }

        impl<'a> RequestBody<'a> for MessageBody<'a> {
            fn find_rule(field: &str) -> Option<&'static str> {
                match field {
                    "channel" => Some(Channel::RULE),
                    $(stringify!($field) => Some($kind::RULE),)+
                    "ttl" => Some(Ttl::RULE),
                    _ => None,
                }
            }
        }

        impl NewMessage {
            /// Returns the message as accepted at `now` with the ID `id`.
            #[must_use]
            pub fn accept(self, id: MessageId, now: Timestamp) -> Message {
                Message {
                    id,
                    channel: self.channel,
                    $($field: self.$field,)+
                    data: self.data,
                    created_at: now,
                    expires_at: now.plus(self.ttl.as_duration()),
                }
            }
        }

        impl MessageView<'_> {
            /// Iterates over the optional text fields that are present.
            pub fn texts(&self) -> impl Iterator<Item = &str> {
                [$(&self.$field),+].into_iter().filter_map(Option::as_deref)
            }
        }
    };
}

define_message! {
    /// The author, whose inbox contains the message. A message without a username is in no inbox.
    username: Username,
    /// The text.
    text: Text,
    /// The city of origin.
    city: Place,
    /// The state of the city.
    state: Place,
}
