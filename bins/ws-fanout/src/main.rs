//! The entry point of ws-fanout.

use std::process::ExitCode;

use mayfly_runtime::Service;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mayfly_runtime::run(Service::WsFanout, ws_fanout::METRICS, ws_fanout::run)
}
