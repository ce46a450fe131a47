//! Sections for the stores and the queue between them.

mod inbox;
mod persist;
mod postgres;
mod queue;
mod redis;

pub use self::{
    inbox::InboxSettings, persist::PersistSettings, postgres::PostgresSettings,
    queue::QueueSettings, redis::RedisSettings,
};
