//! Stops child processes when the supervisor exits.

use std::io;

use nix::sys::signal::Signal;
use tokio::process::Command;

/// Makes the kernel send `signal` to the process when the thread that spawns it exits.
///
/// Implemented only for Linux. On other systems, the next start finds the orphans by their PID
/// files.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "`pre_exec` is the only way to run code between fork and exec")]
pub(crate) fn set_parent_death_signal(command: &mut Command, signal: Signal) {
    let parent = std::process::id();
    // SAFETY: the closure only makes system calls (prctl, getppid). It neither allocates nor locks.
    unsafe {
        command.pre_exec(move || request_signal(signal, parent));
    }
}

/// Does nothing, because parent-death signals are implemented only for Linux.
#[cfg(not(target_os = "linux"))]
pub(crate) fn set_parent_death_signal(_command: &mut Command, _signal: Signal) {
    let _: Option<io::Error> = None;
}

/// Requests `signal` from the kernel. Fails if the parent has already exited, because the kernel
/// would then never send the signal.
#[cfg(target_os = "linux")]
fn request_signal(signal: Signal, parent: u32) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(signal)?;
    let is_orphan = u32::try_from(nix::unistd::getppid().as_raw()) != Ok(parent);
    if is_orphan { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}
