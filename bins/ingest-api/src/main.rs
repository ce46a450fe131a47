//! The entry point of ingest-api.

use std::process::ExitCode;

use mayfly_runtime::Service;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mayfly_runtime::run(Service::IngestApi, ingest_api::METRICS, ingest_api::run)
}
