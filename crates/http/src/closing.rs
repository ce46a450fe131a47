//! Closing a port so that nobody is turned away who was let in.
//!
//! When a listening socket is closed, the kernel resets the connections that it had accepted and that the process had
//! not taken yet. Whoever has sent a request on one does not know whether it was done, and a proxy may not repeat it.
//! So newcomers are kept out a moment before: Linux drops the packet with which they begin, and when they send it
//! again the port is closed, which is safe to go elsewhere with. Who was let in until then is served.

use std::{io, net::TcpListener, time::Duration};

/// How long connections that are being made may take to be there, and to be taken, on a busy machine as well.
const TAKEN_WITHIN: Duration = Duration::from_millis(300);

/// A second handle to a socket that listens, for its end.
pub(crate) struct Closing(TcpListener);

impl Closing {
    /// Of a port that is about to be served.
    pub(crate) fn of(listener: &TcpListener) -> io::Result<Self> {
        listener.try_clone().map(Self)
    }

    /// Keeps newcomers out and waits until who is in was taken; the port can be closed then.
    pub(crate) async fn begin(self) {
        // Where this cannot be done, the port is closed as any other is.
        if let Err(error) = keep_newcomers_out(&self.0) {
            tracing::debug!(%error, "cannot keep newcomers out before the port is closed");
        }
        drop(self);
        tokio::time::sleep(TAKEN_WITHIN).await;
    }
}

/// Drops what has SYN and not ACK among its flags, and lets everything else through. The program is classic BPF, see
/// <https://www.kernel.org/doc/html/latest/networking/filter.html>; a packet begins with its TCP header there.
#[cfg(target_os = "linux")]
fn keep_newcomers_out(listener: &TcpListener) -> io::Result<()> {
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
fn keep_newcomers_out(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{SocketAddr, TcpStream};

    use super::*;

    #[tokio::test]
    async fn who_was_let_in_stays_and_newcomers_hear_nothing_until_the_port_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let knock = |within| TcpStream::connect_timeout(&address, within);
        let early = knock(Duration::from_secs(1)).expect("the port is open");
        Closing::of(&listener).expect("a second handle").begin().await;
        let newcomer = knock(Duration::from_millis(200)).expect_err("nobody gets in");
        assert_eq!(newcomer.kind(), io::ErrorKind::TimedOut);
        let (_taken, peer): (_, SocketAddr) = listener.accept().expect("it was let in");
        assert_eq!(peer, early.local_addr().expect("it is connected"));
        drop(listener);
        let refused = knock(Duration::from_secs(1)).expect_err("the port is closed");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
