//! Shutdown of a connection while its response is being written.

use std::os::fd::{AsRawFd, RawFd};

use actix_web::{HttpRequest, dev::Extensions, rt::net::TcpStream};
use nix::sys::socket::{Shutdown, shutdown};

/// A handle that shuts down the connection of a request from outside. The body of a response is not
/// polled while the client does not read, so it cannot close the connection itself.
///
/// The handle must not outlive the body of the response: afterward, the descriptor may belong to a
/// different connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionHandle {
    socket: RawFd,
}

impl ConnectionHandle {
    /// Returns the handle of the connection of a request, or `None` if the server does not provide it.
    pub fn from_request(request: &HttpRequest) -> Option<Self> {
        request.conn_data::<Self>().copied()
    }

    /// Shuts down both directions of the connection immediately.
    pub fn shut_down(self) {
        // An error means that the connection is already closed.
        let _ = shutdown(self.socket, Shutdown::Both);
    }

    /// Stores the handle in the data of a new connection.
    pub(super) fn register(socket: &TcpStream, data: &mut Extensions) {
        data.insert(Self { socket: socket.as_raw_fd() });
    }
}
