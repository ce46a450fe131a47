//! No process outlives its supervisor.

use std::io;

use nix::sys::signal::Signal;
use tokio::process::Command;

/// Has the kernel send `signal` to the process when the thread that starts it ends, however that happens.
///
/// Only Linux can do this. Elsewhere the next start finds what was left by its pid file.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the standard library runs code between fork and exec in no other way"
)]
pub(crate) fn leash(command: &mut Command, signal: Signal) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only system calls are made (prctl, getppid): nothing allocates, nothing locks.
    unsafe {
        command.pre_exec(move || hold(signal, parent));
    }
}

/// Does nothing where the kernel cannot.
#[cfg(not(target_os = "linux"))]
pub(crate) fn leash(_command: &mut Command, _signal: Signal) {
    let _: Option<io::Error> = None;
}

/// Asks for the signal; a parent that ended before the asking would never send it.
#[cfg(target_os = "linux")]
fn hold(signal: Signal, parent: u32) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(signal)?;
    let orphaned = u32::try_from(nix::unistd::getppid().as_raw()) != Ok(parent);
    if orphaned { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}
