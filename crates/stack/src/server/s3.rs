//! The stack's own S3 server: a `mayfly serve-s3` process.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::error::StackError;
use crate::files::paths::{Paths, create_dir};
use crate::process::{Launch, Probe, StopPolicy};
use crate::topology::addresses::{S3Address, http_url};
use crate::topology::instance::{Instance, ProcessKind};
use crate::topology::ports::localhost;

const STOP_POLICY: StopPolicy = StopPolicy {
    graceful: Signal::SIGTERM,
    timeout: Duration::from_secs(15),
    immediate: Signal::SIGKILL,
    parent_death: Signal::SIGKILL,
};

/// Returns the address of the stack's own S3 server. The credentials can be fixed, because they
/// grant access only to a server on this machine.
pub(crate) fn local_s3(port: u16) -> S3Address {
    S3Address {
        endpoint: http_url(port),
        bucket: "messystats".to_owned(),
        key: "messystats_key".to_owned(),
        access_key: "mayfly".to_owned(),
        secret_key: "mayfly-secret".to_owned(),
        region: "us-east-1".to_owned(),
    }
}

/// Plans the S3 server process.
pub(crate) fn plan_s3(paths: &Paths, bin_dir: &Path, port: u16) -> Result<Launch, StackError> {
    let instance = Instance::first(ProcessKind::S3);
    let address = local_s3(port);
    let root = paths.s3();
    create_dir(&root, 0o700)?;
    let root = root.display().to_string();
    Ok(Launch {
        program: bin_dir.join("mayfly"),
        args: ["serve-s3", "--listen", &localhost(port).to_string(), "--root", &root]
            .map(str::to_owned)
            .to_vec(),
        env: [
            ("AWS_ACCESS_KEY_ID", address.access_key),
            ("AWS_SECRET_ACCESS_KEY", address.secret_key),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        working_dir: paths.data_dir(),
        account: None,
        ports: vec![port],
        log: paths.log(instance),
        pid_file: paths.pid_file(instance),
        marker: root,
        probe: Probe::S3(port),
        stop_policy: STOP_POLICY,
        exclusive_dir: None,
        build: None,
    })
}
