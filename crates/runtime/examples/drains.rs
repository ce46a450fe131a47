//! A service that waits for the drain and exits.

use std::process::ExitCode;

use mayfly_runtime::{Service, run};

fn main() -> ExitCode {
    run(Service::PersistWorker, &[], |process| {
        Box::pin(async move {
            process.log_started(&[("admin", process.settings.admin.listen)]);
            process.lifecycle.draining().cancelled().await;
            Ok(())
        })
    })
}
