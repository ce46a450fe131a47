//! A service that does nothing until it is asked to leave, and then leaves: the frame of every other.

use std::process::ExitCode;

use mayfly_runtime::{Service, run};

fn main() -> ExitCode {
    run(Service::PersistWorker, async |process| {
        process.started(&[("admin", process.settings.admin.listen)]);
        process.lifecycle.draining().cancelled().await;
        Ok(())
    })
}
