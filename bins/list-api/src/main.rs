//! The entry point of list-api.

use std::process::ExitCode;

use mayfly_runtime::Service;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mayfly_runtime::run(Service::ListApi, list_api::METRICS, list_api::run)
}
