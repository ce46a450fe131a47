//! A batcher: combines concurrent requests into one round trip without delaying any of them.
//!
//! While a round trip is in flight, new requests queue up for the next one. Batches grow under
//! load, which lowers the cost per request; without load each request is sent immediately on its
//! own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_redis::{Connection, redis::RedisError};
use tokio::sync::{mpsc, oneshot};

use crate::connection::{HotError, HotStore};

/// A command that executes many requests in one round trip.
pub(crate) trait BatchCommand: Send + Sync + 'static {
    /// The request of one caller.
    type Request: Send + Sync + 'static;
    /// The response to that caller.
    type Response: Send + 'static;

    /// Returns how much of a batch a request takes up.
    fn weight(&self, request: &Self::Request) -> usize;

    /// Executes a batch and returns one response per request, in the same order.
    fn execute(
        &self,
        connection: &mut Connection,
        requests: &[Self::Request],
    ) -> impl Future<Output = Result<Vec<Self::Response>, RedisError>> + Send;
}

/// A request in the queue of a batcher, and where to send its response.
struct Pending<C: BatchCommand> {
    request: C::Request,
    responder: Responder<C>,
}

type Responder<C> = oneshot::Sender<Result<<C as BatchCommand>::Response, HotError>>;

/// Submits requests to a [`BatchWorker`]. Cheap to clone.
pub(crate) struct Batcher<C: BatchCommand> {
    queue: mpsc::Sender<Pending<C>>,
    timeout: Duration,
}

impl<C: BatchCommand> Clone for Batcher<C> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), timeout: self.timeout }
    }
}

/// A pooled connection that was idle for longer is checked before it is used again.
const IDLE_UNCHECKED_MAX: Duration = Duration::from_secs(1);

impl<C: BatchCommand> Batcher<C> {
    /// Starts a batcher that queues at most `queue_max` requests and sends batches of at most
    /// `weight_max` (a single request may weigh more). Its worker exits when the last clone is
    /// dropped.
    pub(crate) fn start(store: HotStore, command: C, queue_max: usize, weight_max: usize) -> Self {
        let (sender, receiver) = mpsc::channel(queue_max);
        let timeout = store.timeout;
        let worker = BatchWorker { store, command, queue: receiver, weight_max, connection: None };
        tokio::spawn(worker.run());
        Self { queue: sender, timeout }
    }

    /// Submits a request and waits for its response until the deadline. A request whose caller
    /// stopped waiting before its batch was formed is never sent.
    pub(crate) async fn submit(&self, request: C::Request) -> Result<C::Response, HotError> {
        let (responder, response) = oneshot::channel();
        self.queue.try_send(Pending { request, responder }).map_err(|_| HotError::Overloaded)?;
        match tokio::time::timeout(self.timeout, response).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => Err(HotError::Unavailable("the batch worker stopped".into())),
            Err(_) => Err(HotError::Timeout),
        }
    }
}

/// The task behind a [`Batcher`].
struct BatchWorker<C: BatchCommand> {
    store: HotStore,
    command: C,
    queue: mpsc::Receiver<Pending<C>>,
    weight_max: usize,
    /// The connection of the last batch, and when that ended.
    connection: Option<(Connection, Instant)>,
}

impl<C: BatchCommand> BatchWorker<C> {
    async fn run(mut self) {
        // The request that did not fit into the batch before.
        let mut overflow = None;
        loop {
            let first = match overflow.take() {
                Some(pending) => pending,
                None => match self.queue.recv().await {
                    Some(pending) => pending,
                    None => return,
                },
            };
            let (requests, responders) = self.collect_batch(first, &mut overflow);
            if requests.is_empty() {
                continue;
            }
            match self.execute(&requests).await {
                Ok(responses) => {
                    for (responder, response) in responders.into_iter().zip(responses) {
                        // The send fails if the caller stopped waiting.
                        drop(responder.send(Ok(response)));
                    }
                }
                Err(error) => fail_all::<C>(responders, &error),
            }
        }
    }

    /// Collects queued requests up to the maximum weight, without those whose caller stopped
    /// waiting.
    fn collect_batch(
        &mut self,
        first: Pending<C>,
        overflow: &mut Option<Pending<C>>,
    ) -> (Vec<C::Request>, Vec<Responder<C>>) {
        let (mut requests, mut responders) = (Vec::new(), Vec::new());
        let mut weight = 0;
        let mut next = Some(first);
        while let Some(pending) = next {
            if !pending.responder.is_closed() {
                weight += self.command.weight(&pending.request);
                if weight > self.weight_max && !requests.is_empty() {
                    *overflow = Some(pending);
                    break;
                }
                requests.push(pending.request);
                responders.push(pending.responder);
            }
            next = self.queue.try_recv().ok();
        }
        (requests, responders)
    }

    async fn execute(&mut self, requests: &[C::Request]) -> Result<Vec<C::Response>, HotError> {
        let deadline = tokio::time::Instant::now() + self.store.timeout;
        let mut connection = match self.connection.take() {
            Some((connection, used_at)) if used_at.elapsed() < IDLE_UNCHECKED_MAX => connection,
            // Return it to the pool, which checks a connection before it hands it out.
            idle => {
                drop(idle);
                self.store.connection_until(deadline).await?
            }
        };
        let execution = self.command.execute(&mut connection, requests);
        let responses = match tokio::time::timeout_at(deadline, execution).await {
            Ok(responses) => responses.map_err(HotError::from),
            Err(_) => Err(HotError::Timeout),
        };
        match responses {
            Err(HotError::Timeout | HotError::Unavailable(_)) => {
                drop(Connection::take(connection));
            }
            _ => self.connection = Some((connection, Instant::now())),
        }
        responses
    }
}

fn fail_all<C: BatchCommand>(responders: Vec<Responder<C>>, error: &HotError) {
    let detail = Arc::<str>::from(error.to_string());
    for responder in responders {
        let failure = match error {
            HotError::Timeout => HotError::Timeout,
            HotError::OutOfMemory => HotError::OutOfMemory,
            _ => HotError::Unavailable(detail.to_string()),
        };
        // The send fails if the caller stopped waiting.
        drop(responder.send(Err(failure)));
    }
}
