//! Shuts down a connection while the server writes a response.

use std::os::fd::{AsRawFd, RawFd};

use actix_web::{HttpRequest, dev::Extensions, rt::net::TcpStream};
use nix::sys::socket::{Shutdown, shutdown};

/// A handle that shuts down the connection of a request. A response body is not polled while the
/// client does not read, so the body cannot close the connection itself.
///
/// The handle must not outlive the response body, because the descriptor can belong to another
/// connection afterward.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionHandle {
    socket: RawFd,
}

impl ConnectionHandle {
    /// Returns the handle for the connection of a request, or `None` if the server did not register
    /// a handle.
    pub fn from_request(request: &HttpRequest) -> Option<Self> {
        request.conn_data::<Self>().copied()
    }

    /// Shuts down both directions of the connection immediately.
    pub fn shut_down(self) {
        // An error means that the connection is already closed.
        let _ = shutdown(self.socket, Shutdown::Both);
    }

    /// Stores a handle in the data of a new connection.
    pub(super) fn register(socket: &TcpStream, data: &mut Extensions) {
        data.insert(Self { socket: socket.as_raw_fd() });
    }
}
