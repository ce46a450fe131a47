//! The stack's own S3 server, a process of the operator's command.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::addresses::{S3Address, url};
use crate::error::StackError;
use crate::instance::{Instance, Part};
use crate::paths::{Paths, create_dir};
use crate::ports::local;
use crate::probe::Probe;
use crate::process::{Ending, Launch};

const ENDING: Ending = Ending {
    ask: Signal::SIGTERM,
    within: Duration::from_secs(15),
    hurry: Signal::SIGKILL,
    orphaned: Signal::SIGKILL,
};

/// What the stack's own S3 server is and takes. The keys open nothing but a server on this machine.
pub(crate) fn own_s3(port: u16) -> S3Address {
    S3Address {
        endpoint: url(port),
        bucket: "messystats".to_owned(),
        key: "messystats_key".to_owned(),
        access_key: "mayfly".to_owned(),
        secret_key: "mayfly-secret".to_owned(),
        region: "us-east-1".to_owned(),
    }
}

/// Says how the S3 server is started.
pub(crate) fn launch_s3(paths: &Paths, bin_dir: &Path, port: u16) -> Result<Launch, StackError> {
    let instance = Instance::first(Part::S3);
    let address = own_s3(port);
    let root = paths.s3();
    create_dir(&root, 0o700)?;
    let root = root.display().to_string();
    Ok(Launch {
        program: bin_dir.join("mayfly"),
        args: ["serve-s3", "--listen", &local(port).to_string(), "--root", &root]
            .map(str::to_owned)
            .to_vec(),
        env: [
            ("AWS_ACCESS_KEY_ID", address.access_key),
            ("AWS_SECRET_ACCESS_KEY", address.secret_key),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        dir: paths.home(),
        account: None,
        ports: vec![port],
        log: paths.log(instance),
        pid_file: paths.pid(instance),
        mark: root,
        probe: Probe::S3(port),
        ending: ENDING,
        alone_in: None,
        build: None,
    })
}
