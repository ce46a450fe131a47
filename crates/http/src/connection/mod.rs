//! Client connections that limit the resources that one client can use.
//!
//! actix-http alone does not limit them sufficiently. It decodes every pipelined request that fits
//! into its read buffer, appends responses to its write buffer while the client does not read, and
//! has a time limit only for the head of the first request. A [`Connection`] therefore wraps the
//! socket and controls which bytes actix-http receives.

mod chunked;
mod head;
mod reader;
mod state;
mod target;
mod unread;
mod writer;

use std::{
    io,
    os::fd::AsRawFd,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::rt::net::TcpStream;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::{reader::RequestReader, writer::ResponseWriter};
pub(crate) use self::{state::ConnectionState, unread::UnreadResponses};
use crate::request::{BodyBudget, BodyMemory};

/// Time limits for a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionTimeouts {
    /// Time limit for receiving the head of a request.
    pub(crate) head: Duration,
    /// How long a client may read nothing while response bytes are waiting.
    pub(crate) write: Duration,
}

/// A client socket that enforces the limits of this module.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Declared, and therefore dropped, before the socket, because the descriptor of a listed
    /// connection must be open.
    listing: Listing,
    socket: TcpStream,
    reader: RequestReader,
    writer: ResponseWriter,
}

/// A guard that, when dropped, removes the connection from the list of stalled connections.
#[derive(Debug)]
struct Listing(Rc<ConnectionState>);

impl Drop for Listing {
    fn drop(&mut self) {
        self.0.clear_stalled();
    }
}

impl Connection {
    /// Creates a connection from an accepted socket.
    pub(crate) fn new(
        socket: TcpStream,
        timeouts: ConnectionTimeouts,
        unread: &Arc<UnreadResponses>,
        bodies: &BodyBudget,
    ) -> Self {
        let state = Rc::new(ConnectionState::new(socket.as_raw_fd(), Arc::clone(unread)));
        Self {
            listing: Listing(state),
            socket,
            reader: RequestReader::new(timeouts.head, BodyMemory::new(Some(bodies))),
            writer: ResponseWriter::new(timeouts.write),
        }
    }

    /// Returns the state that the connection shares with the middleware.
    pub(crate) fn state(&self) -> &Rc<ConnectionState> {
        &self.listing.0
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Returns the socket and the received bytes that have not been passed to actix-http yet. The
    /// limits of this module do not apply to the returned socket.
    pub(crate) fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.socket, self.reader.into_held())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A client that does not read its responses must not be able to request more.
        if this.writer.is_stalled() {
            this.listing.0.wait_to_read(cx.waker());
            return Poll::Pending;
        }
        this.reader.poll_read(&mut this.socket, &this.listing.0, cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.writer.poll_write(&mut this.socket, &this.listing.0, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
