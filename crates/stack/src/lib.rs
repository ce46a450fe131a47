//! The whole system on one machine: Redis, Postgres, an S3 server and the five services, started in the right order,
//! watched, and ended without a trace. `mayfly up`, the tests and the benches use it.
//!
//! [`Stack::up`] takes a [`Spec`] and returns when every service is ready; [`Stack::apply`] brings a running stack to
//! another [`Spec`] and restarts only what differs. What tests need is one Redis and one Postgres for a whole test
//! process: [`SharedServers::get`].

mod addresses;
mod board;
mod chromium;
mod error;
mod install;
mod instance;
mod paths;
mod plan;
mod ports;
mod probe;
mod process;
mod reset;
mod s3_server;
mod server;
mod service;
mod shared_servers;
mod spec;
mod stack;
mod stack_env;
mod status;
mod supervisor;
mod tool;

pub use chromium::find_chromium;
pub use error::StackError;
pub use install::{Need, ensure_installed};
pub use instance::{Instance, Part, UnknownPart};
pub use paths::Paths;
pub use ports::{Claim, claim_free};
pub use process::open_log;
pub use reset::{end_leftovers, reset};
pub use s3_server::serve_s3;
pub use service::Service;
pub use shared_servers::SharedServers;
pub use spec::{ScaleError, Spec, is_own_setting, parse_scale};
pub use stack::Stack;
pub use stack_env::StackEnv;
pub use status::{InstanceStatus, Readiness};
pub use tool::find_tool;
