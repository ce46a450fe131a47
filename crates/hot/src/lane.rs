//! A lane: requests that arrive together share one round trip, and none waits for company.
//!
//! While a round trip is under way, what arrives meanwhile gathers for the next one. Under load
//! trips grow and cost less per request; without load a request travels alone and at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_redis::{Connection, redis::RedisError};
use tokio::sync::{mpsc, oneshot};

use crate::{error::HotError, pool::Hot};

/// What travels in a lane, many requests in one trip.
pub(crate) trait Trip: Send + Sync + 'static {
    /// What one caller asks.
    type Request: Send + Sync + 'static;
    /// What that caller is told.
    type Answer: Send + 'static;

    /// How much of a trip a request takes up.
    fn weight(&self, request: &Self::Request) -> usize;

    /// Makes the trip; gives one answer for each request, in their order.
    fn travel(
        &self,
        connection: &mut Connection,
        requests: &[Self::Request],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, RedisError>> + Send;
}

struct Waiting<T: Trip> {
    request: T::Request,
    answer: oneshot::Sender<Result<T::Answer, HotError>>,
}

/// The entrance of a lane. Cheap to clone.
pub(crate) struct Lane<T: Trip> {
    entrance: mpsc::Sender<Waiting<T>>,
    timeout: Duration,
}

impl<T: Trip> Clone for Lane<T> {
    fn clone(&self) -> Self {
        Self { entrance: self.entrance.clone(), timeout: self.timeout }
    }
}

/// A pooled connection that was not used for this long is checked before it is used again.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

impl<T: Trip> Lane<T> {
    /// Opens a lane in which at most `waiting_max` requests wait, and trips of at most
    /// `weight_max` are made (a single request may weigh more). It ends with its last entrance.
    pub(crate) fn open(hot: Hot, trip: T, waiting_max: usize, weight_max: usize) -> Self {
        let (entrance, exit) = mpsc::channel(waiting_max);
        let timeout = hot.timeout;
        tokio::spawn(Traveller { hot, trip, exit, weight_max, connection: None }.run());
        Self { entrance, timeout }
    }

    /// Asks, and waits for the answer until the deadline. A request that was not yet under way
    /// when its caller gave up is never sent.
    pub(crate) async fn ask(&self, request: T::Request) -> Result<T::Answer, HotError> {
        let (answer, told) = oneshot::channel();
        self.entrance.try_send(Waiting { request, answer }).map_err(|_| HotError::Overloaded)?;
        match tokio::time::timeout(self.timeout, told).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(HotError::Unavailable("the lane is closed".into())),
            Err(_) => Err(HotError::Timeout),
        }
    }
}

struct Traveller<T: Trip> {
    hot: Hot,
    trip: T,
    exit: mpsc::Receiver<Waiting<T>>,
    weight_max: usize,
    /// The connection of the last trip, and when that ended.
    connection: Option<(Connection, Instant)>,
}

impl<T: Trip> Traveller<T> {
    async fn run(mut self) {
        // What did not fit into the trip before.
        let mut left_over = None;
        loop {
            let first = match left_over.take() {
                Some(waiting) => waiting,
                None => match self.exit.recv().await {
                    Some(waiting) => waiting,
                    None => return,
                },
            };
            let (requests, callers) = self.gather(first, &mut left_over);
            if requests.is_empty() {
                continue;
            }
            match self.travel(&requests).await {
                Ok(answers) => {
                    for (caller, answer) in callers.into_iter().zip(answers) {
                        // A caller that gave up meanwhile needs no answer.
                        drop(caller.send(Ok(answer)));
                    }
                }
                Err(error) => tell_all(callers, &error),
            }
        }
    }

    /// Takes what waits, as far as it goes into one trip, without those whose caller gave up.
    #[expect(clippy::type_complexity, reason = "two columns of one list")]
    fn gather(
        &mut self,
        first: Waiting<T>,
        left_over: &mut Option<Waiting<T>>,
    ) -> (Vec<T::Request>, Vec<oneshot::Sender<Result<T::Answer, HotError>>>) {
        let (mut requests, mut callers) = (Vec::new(), Vec::new());
        let mut weight = 0;
        let mut next = Some(first);
        while let Some(waiting) = next {
            if !waiting.answer.is_closed() {
                weight += self.trip.weight(&waiting.request);
                if weight > self.weight_max && !requests.is_empty() {
                    *left_over = Some(waiting);
                    break;
                }
                requests.push(waiting.request);
                callers.push(waiting.answer);
            }
            next = self.exit.try_recv().ok();
        }
        (requests, callers)
    }

    async fn travel(&mut self, requests: &[T::Request]) -> Result<Vec<T::Answer>, HotError> {
        let deadline = tokio::time::Instant::now() + self.hot.timeout;
        let mut connection = match self.connection.take() {
            Some((connection, used_at)) if used_at.elapsed() < TRUSTED_FOR => connection,
            // Back into the pool, which checks it when it hands it out.
            stale => {
                drop(stale);
                self.hot.connection_until(deadline).await?
            }
        };
        let travelling = self.trip.travel(&mut connection, requests);
        let answer = match tokio::time::timeout_at(deadline, travelling).await {
            Ok(answer) => answer.map_err(HotError::from),
            Err(_) => Err(HotError::Timeout),
        };
        match answer {
            Err(HotError::Timeout | HotError::Unavailable(_)) => {
                drop(Connection::take(connection));
            }
            _ => self.connection = Some((connection, Instant::now())),
        }
        answer
    }
}

fn tell_all<A>(callers: Vec<oneshot::Sender<Result<A, HotError>>>, error: &HotError) {
    let detail = Arc::<str>::from(error.to_string());
    for caller in callers {
        let told = match error {
            HotError::Timeout => HotError::Timeout,
            HotError::Full => HotError::Full,
            _ => HotError::Unavailable(detail.to_string()),
        };
        // A caller that gave up meanwhile needs no answer.
        drop(caller.send(Err(told)));
    }
}
