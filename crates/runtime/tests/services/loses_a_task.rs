//! A service in which an essential task panics.

use std::process::ExitCode;

use mayfly_runtime::{Service, exit_on_panic, run};

fn main() -> ExitCode {
    run(Service::PersistWorker, &[], |process| {
        Box::pin(async move {
            process.log_started(&[]);
            let panics = exit_on_panic::<()>("count plays", async { panic!("on purpose") });
            let _task = tokio::spawn(panics);
            std::future::pending().await
        })
    })
}
