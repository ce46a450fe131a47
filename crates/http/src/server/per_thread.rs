//! Shares one service per server thread among all sockets of a port. Otherwise, each socket would
//! have its own caches and connections to the stores.

use std::{
    any::Any,
    cell::RefCell,
    rc::{Rc, Weak},
    sync::atomic::{AtomicUsize, Ordering},
};

use actix_service::ServiceFactory;
use actix_web::rt::net::TcpStream;
use futures_util::future::LocalBoxFuture;

/// The next port index, which is not a TCP port number.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The services of this thread, each with the index of its port.
    static SERVICES: RefCell<Vec<(usize, Weak<dyn Any>)>> = const { RefCell::new(Vec::new()) };
}

/// A factory that returns the shared service for one socket.
pub(super) struct PerThread<F> {
    port: usize,
    create: F,
}

/// Returns a function that creates a factory for each socket of a port.
pub(super) fn share_per_thread<F: Clone>(create: F) -> impl Fn() -> PerThread<F> + Clone {
    let port = NEXT.fetch_add(1, Ordering::Relaxed);
    move || PerThread { port, create: create.clone() }
}

impl<F, T> ServiceFactory<TcpStream> for PerThread<F>
where
    F: Fn() -> T + Clone + 'static,
    T: ServiceFactory<TcpStream, Config = ()> + 'static,
{
    type Response = T::Response;
    type Error = T::Error;
    type Config = ();
    type Service = Rc<T::Service>;
    type InitError = T::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    /// Returns the service for this thread. The server initializes its sockets one after another,
    /// so only the first call creates a service.
    fn new_service(&self, (): ()) -> Self::Future {
        let (port, create) = (self.port, self.create.clone());
        Box::pin(async move {
            if let Some(service) = find(port) {
                return Ok(service);
            }
            let service = Rc::new(create().new_service(()).await?);
            let shared: Rc<dyn Any> = service.clone();
            add(port, &shared);
            Ok(service)
        })
    }
}

fn find<S: 'static>(port: usize) -> Option<Rc<S>> {
    SERVICES.with_borrow(|services| {
        let (_, service) = services.iter().find(|(of, _)| *of == port)?;
        service.upgrade()?.downcast().ok()
    })
}

fn add(port: usize, service: &Rc<dyn Any>) {
    SERVICES.with_borrow_mut(|services| {
        services.retain(|(_, service)| service.strong_count() > 0);
        services.push((port, Rc::downgrade(service)));
    });
}
