//! Servers that tests place before or behind Mayfly.

mod fake_chartbeat;
mod redis_proxy;
mod reverse_proxy;

pub use fake_chartbeat::{FakeChartbeat, SourceCall, SourceReply};
pub use redis_proxy::RedisProxy;
pub use reverse_proxy::ReverseProxy;
