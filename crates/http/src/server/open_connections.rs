//! The number of open connections to the public port, as a metric.

use actix_service::{Service as _, ServiceFactory, apply_fn_factory};
use actix_web::rt::net::TcpStream;
use futures_util::FutureExt as _;
use metrics::Gauge;

use crate::metrics as names;

/// Counts a connection until it is dropped.
struct OpenConnection(Gauge);

impl OpenConnection {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Exports the number of connections at which the public port accepts no more.
#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
pub(super) fn export_connections_max(connections_max: usize) {
    metrics::gauge!(names::HTTP_CONNECTIONS_MAX).set(connections_max as f64);
}

/// Returns the gauge of the open connections to the public port.
pub(super) fn open_connections() -> Gauge {
    metrics::gauge!(names::HTTP_CONNECTIONS)
}

/// Returns the factory for a service that passes connections to `service` and counts them in `gauge`
/// until their futures end. As in the connection limit of the server, a connection therefore no longer
/// counts after its upgrade.
pub(super) fn count_connections<S>(
    gauge: Gauge,
    service: S,
) -> impl ServiceFactory<
    TcpStream,
    Config = (),
    Response = S::Response,
    Error = S::Error,
    InitError = S::InitError,
>
where
    S: ServiceFactory<TcpStream, Config = ()> + 'static,
{
    apply_fn_factory::<S, S, _, _, TcpStream, TcpStream, _, _>(service, move |socket, service| {
        let open = OpenConnection::new(gauge.clone());
        // `map` stores the future once. An async block could store it twice.
        service.call(socket).map(move |result| {
            drop(open);
            result
        })
    })
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    use actix_service::fn_service;
    use tokio::{net::TcpListener, sync::Semaphore};

    use super::*;

    async fn connect() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        TcpStream::connect(address).await.expect("a connection")
    }

    #[tokio::test]
    async fn connection_counts_until_its_future_ends_or_is_dropped() {
        let value = Arc::new(AtomicU64::new(0));
        let has_open = |count: f64| value.load(Ordering::Relaxed) == count.to_bits();
        let finish = Arc::new(Semaphore::new(0));
        let gate = Arc::clone(&finish);
        let serve = fn_service(move |_: TcpStream| {
            let gate = Arc::clone(&gate);
            async move {
                let _permit = gate.acquire().await;
                Ok::<_, Infallible>(())
            }
        });
        let factory = count_connections(Gauge::from_arc(Arc::clone(&value)), serve);
        let service = factory.new_service(()).await.expect("a service");
        let (first, second) = (service.call(connect().await), service.call(connect().await));
        assert!(has_open(2.0));
        drop(first);
        assert!(has_open(1.0));
        finish.add_permits(1);
        second.await.expect("served");
        assert!(has_open(0.0));
    }
}
