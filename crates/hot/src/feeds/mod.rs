//! Feeds: the pub/sub subscription of a process, and the message stream as subscribers read it.

mod message_stream;
mod sink;
mod subscription;

pub use self::{
    message_stream::{MessageStream, StreamEntry},
    sink::{BoundedSink, Publications},
    subscription::{EventSinks, Subscription},
};
