//! A service that waits for the drain and exits.

use std::process::ExitCode;

use mayfly_runtime::{Service, run};

fn main() -> ExitCode {
    run(Service::PersistWorker, &[], |process| {
        Box::pin(async move {
            let admin = process.settings.admin.listen.to_socket_addresses();
            process.log_started(&[("admin", &admin)]);
            process.lifecycle.draining().cancelled().await;
            Ok(())
        })
    })
}
