//! A batcher: combines concurrent requests into one round trip without delaying any of them, and
//! refuses requests that it could not send in time.
//!
//! While a round trip is in flight, new requests queue up for the next one. Batches grow under
//! load, which lowers the cost per request; without load each request is sent immediately on its
//! own.
//!
//! Under overload, a queue with a deadline per request would execute only requests whose callers
//! have given up. Therefore:
//!
//! - A request is refused when its expected wait exceeds `redis.queue_timeout`. The expected wait is
//!   the queued weight divided by the measured service rate.
//! - A request that nevertheless waits for longer is removed from the queue and never sent.
//! - A request that was sent is never abandoned: its caller waits for the outcome until the deadline
//!   of the round trip, `redis.timeout` after its oldest request was submitted. At least half of that
//!   time is left when it is sent.
//! - A batch has a maximum weight, and small and large requests have separate queues, each with a
//!   round trip of its own, so that small requests do not wait behind large ones.

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

/// A request is small if it weighs at most this part of a batch.
const SMALL_PART: usize = 16;

/// The limits of each queue of a batcher and of its batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// The maximum number of requests that wait.
    pub waiting_requests: usize,
    /// The maximum weight of all requests that wait. A single request may weigh more.
    pub waiting_weight: usize,
    /// The maximum weight of a batch. A single request may weigh more.
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

/// The time limits of a request.
#[derive(Debug, Clone, Copy)]
struct TimeLimits {
    /// How long a request may wait before it is sent.
    queue: Duration,
    /// How long its caller waits in total.
    total: Duration,
}

/// Submits requests `Q`, which have responses `R`, to two batch workers. Cheap to clone. The workers
/// exit when the last clone is dropped.
pub(crate) struct Batcher<Q, R> {
    queues: Arc<Queues<Q, R>>,
}

impl<Q, R> Clone for Batcher<Q, R> {
    fn clone(&self) -> Self {
        Self { queues: self.queues.clone() }
    }
}

/// The queues of small and of large requests.
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

    /// Submits a request and waits for its response. `weight` is the share of a batch that the
    /// request takes up.
    ///
    /// # Errors
    /// [`HotError::Overloaded`] if the request was not sent.
    pub(crate) async fn submit(&self, request: Q, weight: usize) -> Result<R, HotError> {
        let response = self.queue_for(weight).push(request, weight)?;
        response.await.unwrap_or_else(|_| Err(queue::stopped()))
    }

    /// Returns an error if a request of this weight would be refused now.
    pub(crate) fn check_capacity(&self, weight: usize) -> Result<(), HotError> {
        self.queue_for(weight).check(weight)
    }

    fn queue_for(&self, weight: usize) -> &RequestQueue<Q, R> {
        let is_small = weight <= self.queues.small_weight_max;
        if is_small { &self.queues.small } else { &self.queues.large }
    }
}
