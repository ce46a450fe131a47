//! A service that ignores the drain.

use std::process::ExitCode;

use mayfly_runtime::{Service, run};

fn main() -> ExitCode {
    run(Service::PersistWorker, &[], |process| {
        Box::pin(async move {
            process.log_started(&[]);
            std::future::pending().await
        })
    })
}
