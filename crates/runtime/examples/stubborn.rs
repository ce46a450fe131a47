//! A service that does not leave when it is asked to.

use std::process::ExitCode;

use mayfly_runtime::{Service, run};

fn main() -> ExitCode {
    run(Service::PersistWorker, async |process| {
        process.started(&[]);
        std::future::pending().await
    })
}
