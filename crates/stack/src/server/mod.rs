//! The stack's own servers (Redis, Postgres and S3), and a firewall for tests.

pub(crate) mod firewall;
pub(crate) mod postgres;
pub(crate) mod redis;
pub(crate) mod s3;
pub(crate) mod s3_server;
