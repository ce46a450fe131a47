//! Response bodies that are passed to the HTTP library in small pieces.
//!
//! The library copies each piece into the write buffer of the connection. If a body were passed in
//! one piece, every client that does not read would cause another complete copy of the body.

use std::{
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use crate::connection::ConnectionState;

/// The maximum size of a piece, in bytes.
const PIECE_BYTES: usize = 32 * 1024;

/// Bytes that responses share, such as a file.
#[derive(Debug)]
pub(crate) struct SharedBody(Bytes);

impl SharedBody {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    fn take_piece(&mut self) -> Option<Bytes> {
        let length = self.0.len().min(PIECE_BYTES);
        (length > 0).then(|| self.0.split_to(length))
    }
}

impl MessageBody for SharedBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.take_piece().map(Ok))
    }
}

/// The bytes of one response. The bytes count as unread until they are in the write buffer.
#[derive(Debug)]
pub(crate) struct PacedBody {
    body: SharedBody,
    connection: Rc<ConnectionState>,
}

impl PacedBody {
    /// Returns `true` if a body of this size fits into a single piece or if the size is unknown.
    pub(crate) fn is_unnecessary(size: BodySize) -> bool {
        !matches!(size, BodySize::Sized(bytes) if bytes > PIECE_BYTES as u64)
    }

    pub(crate) fn new(bytes: Bytes, connection: Rc<ConnectionState>) -> Self {
        connection.add_unread(bytes.len());
        Self { body: SharedBody(bytes), connection }
    }
}

impl MessageBody for PacedBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let piece = self.body.take_piece();
        self.connection.remove_unread(piece.as_ref().map_or(0, Bytes::len));
        Poll::Ready(piece.map(Ok))
    }
}

impl Drop for PacedBody {
    fn drop(&mut self) {
        self.connection.remove_unread(self.body.0.len());
    }
}
