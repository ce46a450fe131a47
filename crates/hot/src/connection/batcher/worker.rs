//! The task that executes batches.

use std::sync::Arc;

use tokio::{pin, select, time::sleep_until};

use super::{
    executor::Execute,
    queue::{Batch, RequestQueue, Responder, refuse},
};
use crate::connection::{HotError, metrics::EXPIRED};

/// A worker that executes the requests of a queue, one round trip at a time.
pub(super) struct BatchWorker<E: Execute> {
    queue: Arc<RequestQueue<E::Request, E::Response>>,
    executor: E,
}

impl<E: Execute> BatchWorker<E> {
    /// Creates a worker.
    pub(super) fn new(queue: Arc<RequestQueue<E::Request, E::Response>>, executor: E) -> Self {
        Self { queue, executor }
    }

    /// Runs until the queue is closed.
    pub(super) async fn run(mut self) {
        while let Some(Batch { requests, responders, deadline }) = self.queue.next_batch().await {
            let result = {
                let execution = self.executor.execute(&requests, deadline);
                pin!(execution);
                loop {
                    select! {
                        biased;
                        result = &mut execution => break result,
                        () = sleep_until(self.queue.next_expiry()) => self.queue.expire(),
                    }
                }
            };
            self.queue.end_round_trip(result.is_ok());
            match result {
                Ok(responses) => {
                    for (responder, response) in responders.into_iter().zip(responses) {
                        // The send fails if the caller disconnected.
                        drop(responder.send(Ok(response)));
                    }
                }
                Err(error) => fail_all(responders, &error),
            }
        }
    }
}

impl<E: Execute> Drop for BatchWorker<E> {
    /// Closes the queue, even after a panic, because no worker is left to execute its requests.
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn fail_all<R>(responders: Vec<Responder<R>>, error: &HotError) {
    let detail = error.to_string();
    for responder in responders {
        let failure = match error {
            HotError::Timeout => HotError::Timeout,
            HotError::OutOfMemory => HotError::OutOfMemory,
            // The batch waited for a connection.
            HotError::Overloaded => refuse(EXPIRED),
            _ => HotError::Unavailable(detail.clone()),
        };
        // The send fails if the caller disconnected.
        drop(responder.send(Err(failure)));
    }
}
