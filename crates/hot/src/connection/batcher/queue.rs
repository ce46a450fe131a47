//! The queue of one batch worker: admission, batches and expiry.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{BatchLimits, TimeLimits, service_time::ServiceTime};
use crate::connection::{
    HotError,
    metrics::{EXPIRED, record_shed_request},
};

/// The receiver of a response.
pub(super) type Response<R> = oneshot::Receiver<Result<R, HotError>>;
/// The sender of a response.
pub(super) type Responder<R> = oneshot::Sender<Result<R, HotError>>;

/// The queue of the requests that wait for the next round trip.
pub(super) struct RequestQueue<Q, R> {
    limits: BatchLimits,
    time: TimeLimits,
    state: Mutex<State<Q, R>>,
    /// Wakes the worker.
    arrival: Notify,
}

struct State<Q, R> {
    pending: VecDeque<Pending<Q, R>>,
    /// The total weight of the pending requests.
    weight: usize,
    /// The start time and the total weight of the current round trip.
    round_trip: Option<(Instant, usize)>,
    service_time: ServiceTime,
    is_closed: bool,
}

struct Pending<Q, R> {
    request: Q,
    weight: usize,
    submitted_at: Instant,
    responder: Responder<R>,
}

/// The requests of one round trip.
pub(super) struct Batch<Q, R> {
    pub(super) requests: Vec<Q>,
    /// The senders of the responses, in the order of the requests.
    pub(super) responders: Vec<Responder<R>>,
    /// The time at which the round trip times out.
    pub(super) deadline: Instant,
}

/// Returns the error for requests to a worker that has stopped.
pub(super) fn stopped() -> HotError {
    HotError::Unavailable("the batch worker has stopped".to_owned())
}

/// Counts a refused request and returns the error for its caller.
pub(super) fn refuse(reason: &'static str) -> HotError {
    record_shed_request(reason);
    HotError::Overloaded
}

impl<Q, R> RequestQueue<Q, R> {
    /// Creates an empty queue.
    pub(super) fn new(limits: BatchLimits, time: TimeLimits) -> Self {
        let state = State {
            pending: VecDeque::new(),
            weight: 0,
            round_trip: None,
            service_time: ServiceTime::new(limits.batch_weight),
            is_closed: false,
        };
        Self { limits, time, state: Mutex::new(state), arrival: Notify::new() }
    }

    /// Adds a request and returns the receiver of its response.
    pub(super) fn push(&self, request: Q, weight: usize) -> Result<Response<R>, HotError> {
        let now = Instant::now();
        let (responder, response) = oneshot::channel();
        let mut state = self.state.lock();
        self.admit(&state, weight, now)?;
        state.weight += weight;
        state.pending.push_back(Pending { request, weight, submitted_at: now, responder });
        // A worker with a round trip in flight checks the queue when the round trip ends.
        let is_idle = state.round_trip.is_none();
        drop(state);
        if is_idle {
            self.arrival.notify_one();
        }
        Ok(response)
    }

    /// Returns an error if a request of this weight would be refused now. Counts the refusal,
    /// unless the queue is closed.
    pub(super) fn check(&self, weight: usize) -> Result<(), HotError> {
        self.admit(&self.state.lock(), weight, Instant::now())
    }

    fn admit(&self, state: &State<Q, R>, weight: usize, now: Instant) -> Result<(), HotError> {
        if state.is_closed {
            return Err(stopped());
        }
        let is_full = state.pending.len() >= self.limits.waiting_requests
            || (!state.pending.is_empty()
                && state.weight.saturating_add(weight) > self.limits.waiting_weight);
        if is_full {
            return Err(refuse("full"));
        }
        if state.expected_wait(self.time.queue, now) > self.time.queue {
            return Err(refuse("wait"));
        }
        Ok(())
    }

    /// Waits for requests, begins the next round trip and returns its batch. Returns `None` once
    /// the queue is closed.
    pub(super) async fn next_batch(&self) -> Option<Batch<Q, R>> {
        loop {
            {
                let mut state = self.state.lock();
                if state.is_closed {
                    return None;
                }
                if let Some(batch) = self.take_batch(&mut state, Instant::now()) {
                    return Some(batch);
                }
            }
            self.arrival.notified().await;
        }
    }

    /// Begins a round trip with the oldest requests up to the maximum weight, but with at least one
    /// request. Refuses requests that have waited too long, and drops requests from callers that
    /// have disconnected. Returns `None` if no request is left.
    fn take_batch(&self, state: &mut State<Q, R>, now: Instant) -> Option<Batch<Q, R>> {
        self.remove_expired(state, now);
        let (mut requests, mut responders) = (Vec::new(), Vec::new());
        let (mut weight, mut oldest) = (0, now);
        while let Some(next) = state.pending.front() {
            let is_cancelled = next.responder.is_closed();
            let exceeds = weight + next.weight > self.limits.batch_weight;
            if !is_cancelled && exceeds && !requests.is_empty() {
                break;
            }
            let Some(next) = state.pop() else { break };
            if is_cancelled {
                continue;
            }
            if requests.is_empty() {
                oldest = next.submitted_at;
            }
            weight += next.weight;
            requests.push(next.request);
            responders.push(next.responder);
        }
        if requests.is_empty() {
            return None;
        }
        state.round_trip = Some((now, weight));
        Some(Batch { requests, responders, deadline: oldest + self.time.total })
    }

    /// Ends the current round trip, and records the duration if the round trip succeeded.
    pub(super) fn end_round_trip(&self, has_succeeded: bool) {
        let mut state = self.state.lock();
        if let Some((began, weight)) = state.round_trip.take()
            && has_succeeded
        {
            state.service_time.record(weight, began.elapsed());
        }
    }

    /// Returns the time at which to call [`Self::expire`] next.
    pub(super) fn next_expiry(&self) -> Instant {
        let state = self.state.lock();
        let oldest = state.pending.front().map_or_else(Instant::now, |one| one.submitted_at);
        oldest + self.time.queue
    }

    /// Refuses the requests that have waited too long.
    pub(super) fn expire(&self) {
        self.remove_expired(&mut self.state.lock(), Instant::now());
    }

    fn remove_expired(&self, state: &mut State<Q, R>, now: Instant) {
        while state.pending.front().is_some_and(|one| one.submitted_at + self.time.queue <= now) {
            if let Some(expired) = state.pop() {
                // The send fails if the caller disconnected.
                drop(expired.responder.send(Err(refuse(EXPIRED))));
            }
        }
    }

    /// Closes the queue. The callers of pending requests receive an error.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.weight = 0;
        state.pending.clear();
        drop(state);
        self.arrival.notify_one();
    }
}

impl<Q, R> State<Q, R> {
    fn pop(&mut self) -> Option<Pending<Q, R>> {
        let first = self.pending.pop_front()?;
        self.weight -= first.weight;
        Some(first)
    }

    /// Returns the expected time that a request submitted now waits before it is sent.
    fn expected_wait(&self, wait_max: Duration, now: Instant) -> Duration {
        let queued = self.service_time.estimate(self.weight);
        let Some((began, weight)) = self.round_trip else { return queued };
        let elapsed = now - began;
        if elapsed > wait_max {
            // Redis is not responding, or the round trip is taking longer than the maximum wait.
            return elapsed;
        }
        self.service_time.estimate_round_trip(weight).saturating_sub(elapsed).saturating_add(queued)
    }
}
