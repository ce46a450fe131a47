//! Servers that tests place before or behind Mayfly.

mod certificates;
mod fake_chartbeat;
mod postgres_cluster;
mod redis_proxy;
mod reverse_proxy;
mod tls_redis;

pub use certificates::Certificates;
pub use fake_chartbeat::{FakeChartbeat, SourceCall, SourceReply};
pub use postgres_cluster::{PostgresCluster, PostgresServer};
pub use redis_proxy::RedisProxy;
pub use reverse_proxy::ReverseProxy;
pub use tls_redis::TlsRedis;
