//! The local stack: Redis, Postgres, an S3 server and the five services as child processes of one
//! supervisor. `mayfly up`, the tests and the benchmarks use this crate.
//!
//! [`Stack::up`] starts the stack that a [`Spec`] describes and returns when every service is
//! ready. [`Stack::apply`] changes a running stack and restarts only the processes that differ.
//! Tests that need only Redis use [`SharedRedis`], and tests that need only Redis and Postgres use
//! [`SharedServers`]. All tests in one process share these servers.

pub mod control;

mod error;
mod files;
mod install;
mod process;
mod programs;
mod server;
mod shared_servers;
mod spec;
mod stack;
mod supervisor;
mod topology;

pub use error::StackError;
pub use files::paths::Paths;
pub use files::stack_env::StackEnv;
pub use install::{Dependency, ensure_installed};
pub use process::{Readiness, open_log};
pub use programs::{chromium::find_chromium, find_postgres_program, find_tool};
pub use server::{firewall::Firewall, s3_server::serve_s3};
pub use shared_servers::{SharedRedis, SharedServers};
pub use spec::{ScaleError, Spec, is_managed_setting, parse_scale};
pub use stack::Stack;
pub use supervisor::reset::{complete_reset, reset, stop_orphans};
pub use supervisor::status::InstanceStatus;
pub use topology::instance::{Instance, ProcessKind, UnknownProcess};
pub use topology::ports::{ReservedPort, reserve_free_port, reserve_port_base};
pub use topology::service::Service;
