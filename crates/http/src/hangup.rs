//! Ending a connection whose answer is still being written.

use std::os::fd::{AsRawFd, RawFd};

use actix_web::{HttpRequest, dev::Extensions, rt::net::TcpStream};
use nix::sys::socket::{Shutdown, shutdown};

/// Ends the connection of a request from outside: an answer whose reader does not read is never
/// asked for its next piece, and could not end by itself. To be kept no longer than the body of the
/// answer lives, which the connection outlives.
#[derive(Debug, Clone, Copy)]
pub struct Hangup {
    socket: RawFd,
}

impl Hangup {
    /// That of the connection of a request; nothing if the server does not offer it.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.conn_data::<Self>().copied()
    }

    /// Ends the connection in both directions, at once.
    pub fn hang_up(self) {
        // It is gone already, otherwise.
        let _ = shutdown(self.socket, Shutdown::Both);
    }

    /// Keeps it for the requests of a connection.
    pub(crate) fn keep(socket: &TcpStream, data: &mut Extensions) {
        data.insert(Self { socket: socket.as_raw_fd() });
    }
}
