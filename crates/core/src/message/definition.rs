//! The definition of a message: the list of its optional texts, at the end of this file, from which
//! its forms are generated.

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

/// Defines the forms of a message, given its optional texts: as sent, as validated, as accepted,
/// and as read back. All have the same fields in the same order.
macro_rules! define_message {
    ($($(#[$doc:meta])+ $field:ident: $kind:ident,)+) => {
        /// The JSON of a message to send, before its fields are validated. Null is the same as an
        /// absent field.
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

        /// A validated message that is not yet accepted.
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
        // Its fields are serialized in this order, `expires_at` last: expiring a message replaces
        // the last `EXPIRES_AT_TAIL_BYTES` of its JSON.
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

        /// An accepted message read back from a store, without validating it again: from its JSON
        /// in the persist-worker, from a row in list-api. Serializes to the same JSON as
        /// [`Message`].
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
            /// Validates all fields but `data`, in their order.
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
            /// Returns the message accepted at `now`.
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
            /// Iterates over the texts that are present.
            pub fn texts(&self) -> impl Iterator<Item = &str> {
                [$(&self.$field),+].into_iter().filter_map(Option::as_deref)
            }
        }
    };
}

define_message! {
    /// The username that owns the inbox; without one, the message is in no inbox.
    username: Username,
    /// The text.
    text: Text,
    /// The city of origin.
    city: Place,
    /// The state of that city.
    state: Place,
}
