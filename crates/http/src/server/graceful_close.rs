//! Closes a listening socket without resetting connections.
//!
//! When a listening socket is closed, the kernel resets established connections that the process
//! has not accepted yet. A client that has sent a request on one of them does not know whether the
//! request was executed, and a proxy must not retry a non-idempotent request. New connections are
//! therefore blocked shortly before the socket is closed: Linux drops their SYN packets. When a
//! client retransmits its SYN packet, the port is closed, and the client can safely connect
//! elsewhere. Connections that are already established are served.

use std::{io, net::TcpListener, time::Duration};

use super::BoundListener;

/// Time for pending handshakes to complete and for their connections to be accepted, even on a busy
/// machine.
const ACCEPT_TIMEOUT: Duration = Duration::from_millis(300);

/// Duplicate handles to the listening sockets of a port, used to close the port gracefully.
pub(super) struct GracefulClose(Vec<TcpListener>);

impl GracefulClose {
    /// Clones the handles of a listener that is about to be served.
    pub(super) fn new(listener: &BoundListener) -> io::Result<Self> {
        listener.sockets().iter().map(TcpListener::try_clone).collect::<io::Result<_>>().map(Self)
    }

    /// Blocks new connections and gives the server time to accept the established ones. The port
    /// can be closed afterward.
    pub(super) async fn block_new_connections(self) {
        // If the filter cannot be attached, the port is closed without it.
        for listener in &self.0 {
            if let Err(error) = drop_syn_packets(listener) {
                tracing::debug!(%error, "cannot block new connections before the port is closed");
            }
        }
        drop(self);
        tokio::time::sleep(ACCEPT_TIMEOUT).await;
    }
}

/// Attaches a filter that drops packets that have the SYN flag but not the ACK flag. The filter is
/// written in classic BPF (<https://www.kernel.org/doc/html/latest/networking/filter.html>). Its
/// offsets are relative to the TCP header.
#[cfg(target_os = "linux")]
fn drop_syn_packets(listener: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_AND_ACK: u32 = 0x12;
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(AND, 0, 0, SYN_AND_ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

#[cfg(not(target_os = "linux"))]
fn drop_syn_packets(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{SocketAddr, TcpStream};

    use super::*;

    #[tokio::test]
    async fn established_connection_stays_and_new_ones_are_blocked() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let bound = BoundListener::bind(any.into()).expect("a port is free");
        let address = bound.address();
        let connect = |within| TcpStream::connect_timeout(&address, within);
        let early = connect(Duration::from_secs(1)).expect("the port is open");
        GracefulClose::new(&bound).expect("the handle is cloned").block_new_connections().await;
        let blocked = connect(Duration::from_millis(200)).expect_err("new connections are blocked");
        assert_eq!(blocked.kind(), io::ErrorKind::TimedOut);
        let (_accepted, peer) = bound.sockets()[0].accept().expect("an established connection");
        assert_eq!(peer, early.local_addr().expect("an address"));
        drop(bound);
        let refused = connect(Duration::from_secs(1)).expect_err("the port is closed");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
