//! A batcher combines concurrent requests into one round trip. It never waits for more requests to
//! arrive, and refuses requests that it does not expect to send in time.
//!
//! While a round trip is in flight, new requests queue up for the next one. Batches grow under
//! load, which lowers the cost per request. Without load, each request is sent immediately on its
//! own. Each request has a weight, which approximates the cost of executing the request. The unit
//! of the weight depends on the command, for example bytes or IDs.
//!
//! Under overload, a batcher without a limit on the wait would mostly execute requests whose
//! callers have given up. Therefore:
//!
//! - A request is refused if its expected wait exceeds the queue timeout, which is
//!   `redis.queue_timeout` but at most half of `redis.timeout`. The wait is predicted from the
//!   queued weight and the measured duration of round trips.
//! - A request that nevertheless waits longer than the queue timeout is never sent. The wait in the
//!   queue and the wait of its batch for a free connection both count.
//! - The caller of a request that has been sent waits for the outcome at most until the deadline of
//!   the round trip, which is `redis.timeout` after the oldest request in the batch was submitted.
//!   At least half of `redis.timeout` is left when the round trip begins.
//! - A batch has a maximum weight. Small and large requests have separate queues and separate round
//!   trips, so that small requests do not wait behind large ones.

mod executor;
mod queue;
mod service_time;
#[cfg(test)]
mod tests;
mod worker;

use std::{sync::Arc, time::Duration};

use mayfly_runtime::{exit_on_panic, settings::IngestSettings};

pub(crate) use self::executor::BatchCommand;
use self::{
    executor::{Execute, RedisExecutor},
    queue::RequestQueue,
    worker::BatchWorker,
};
use crate::connection::{HotError, HotStore};

/// A request is small if its weight is at most the maximum weight of a batch divided by this
/// number.
const SMALL_PART: usize = 16;

/// The limits for each queue of a batcher and for its batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// The maximum number of waiting requests.
    pub waiting_requests: usize,
    /// The maximum total weight of the waiting requests. A request that waits alone may weigh more.
    pub waiting_weight: usize,
    /// The maximum weight of a batch. A request that is sent alone may weigh more.
    pub batch_weight: usize,
}

impl From<&IngestSettings> for BatchLimits {
    fn from(settings: &IngestSettings) -> Self {
        Self {
            waiting_requests: settings.waiting_max,
            waiting_weight: settings.waiting_bytes_max,
            batch_weight: settings.batch_bytes_max,
        }
    }
}

/// The time limits for a request.
#[derive(Debug, Clone, Copy)]
struct TimeLimits {
    /// The maximum time that a request waits before it is sent.
    queue: Duration,
    /// The maximum time that the caller waits in total.
    total: Duration,
}

/// A handle that submits requests `Q` to two batch workers and receives responses `R`. Cheap to
/// clone. The workers exit when the last clone is dropped.
pub(crate) struct Batcher<Q, R> {
    queues: Arc<Queues<Q, R>>,
}

impl<Q, R> Clone for Batcher<Q, R> {
    fn clone(&self) -> Self {
        Self { queues: self.queues.clone() }
    }
}

/// The queues of small requests and of large requests.
struct Queues<Q, R> {
    small: Arc<RequestQueue<Q, R>>,
    large: Arc<RequestQueue<Q, R>>,
    small_weight_max: usize,
}

impl<Q, R> Drop for Queues<Q, R> {
    fn drop(&mut self) {
        self.small.close();
        self.large.close();
    }
}

impl<Q: Send + Sync + 'static, R: Send + 'static> Batcher<Q, R> {
    /// Starts a batcher that executes its requests on Redis.
    pub(crate) fn start<C>(store: &HotStore, command: C, limits: BatchLimits) -> Self
    where
        C: BatchCommand<Request = Q, Response = R>,
    {
        let command = Arc::new(command);
        let time = TimeLimits { queue: store.queue_timeout(), total: store.timeout };
        Self::start_with(|| RedisExecutor::new(store.clone(), command.clone()), limits, time)
    }

    fn start_with<E>(create_executor: impl Fn() -> E, limits: BatchLimits, time: TimeLimits) -> Self
    where
        E: Execute<Request = Q, Response = R>,
    {
        let start_worker = || {
            let queue = Arc::new(RequestQueue::new(limits, time));
            let worker = BatchWorker::new(queue.clone(), create_executor());
            tokio::spawn(exit_on_panic("execute batches", worker.run()));
            queue
        };
        let (small, large) = (start_worker(), start_worker());
        let small_weight_max = limits.batch_weight / SMALL_PART;
        Self { queues: Arc::new(Queues { small, large, small_weight_max }) }
    }

    /// Submits a request and waits for its response. `weight` counts toward the limits of the queue
    /// and of the batch.
    ///
    /// # Errors
    /// [`HotError::Overloaded`] if the request was not sent because of overload.
    pub(crate) async fn submit(&self, request: Q, weight: usize) -> Result<R, HotError> {
        let response = self.queue_for(weight).push(request, weight)?;
        response.await.unwrap_or_else(|_| Err(queue::stopped()))
    }

    /// Returns an error if a request of this weight would be refused now. Counts the refusal,
    /// unless the queue is closed.
    pub(crate) fn check_capacity(&self, weight: usize) -> Result<(), HotError> {
        self.queue_for(weight).check(weight)
    }

    fn queue_for(&self, weight: usize) -> &RequestQueue<Q, R> {
        let is_small = weight <= self.queues.small_weight_max;
        if is_small { &self.queues.small } else { &self.queues.large }
    }
}
