//! The entry point of persist-worker.

use std::process::ExitCode;

use mayfly_runtime::Service;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mayfly_runtime::run(Service::PersistWorker, persist_worker::METRICS, persist_worker::run)
}
