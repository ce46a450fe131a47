//! The entry point of stats-publisher.

use std::process::ExitCode;

use mayfly_runtime::Service;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mayfly_runtime::run(Service::StatsPublisher, stats_publisher::METRICS, stats_publisher::run)
}
