//! Tests for the batcher under load, with a simulated store and a simulated clock.

use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use mayfly_runtime::wait_for_panic;
use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{Instant, advance, sleep, timeout_at},
};

use super::*;

const TIME: TimeLimits =
    TimeLimits { queue: Duration::from_millis(250), total: Duration::from_millis(750) };
/// A request with a weight of at most 6 is small.
const LIMITS: BatchLimits =
    BatchLimits { waiting_requests: 10_000, waiting_weight: 100_000, batch_weight: 100 };
/// The fixed duration of a round trip.
const ROUND_TRIP: Duration = Duration::from_millis(1);
/// The additional duration of a round trip per unit of weight.
const PER_WEIGHT: Duration = Duration::from_micros(100);
/// The tolerance for imprecise timers.
const TICK: Duration = Duration::from_millis(2);

/// A request: its number and weight.
type Item = (u32, usize);

/// A store that executes one batch at a time, like Redis.
#[derive(Default)]
struct FakeStore {
    /// The numbers of the requests in each executed batch.
    executed: Mutex<Vec<Vec<u32>>>,
    /// The additional duration of each round trip in ms.
    delay_ms: AtomicU32,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct FakeExecutor(Arc<FakeStore>);

impl Execute for FakeExecutor {
    type Request = Item;
    type Response = u32;

    async fn execute(
        &mut self,
        requests: &[Item],
        deadline: Instant,
    ) -> Result<Vec<u32>, HotError> {
        let weight: usize = requests.iter().map(|(_, weight)| weight).sum();
        let numbers: Vec<u32> = requests.iter().map(|(number, _)| *number).collect();
        assert!(!numbers.contains(&PANIC), "deliberate panic");
        // A sent request is executed even after its deadline.
        self.0.executed.lock().push(numbers.clone());
        let execution = async {
            let _turn = self.0.turn.lock().await;
            let delay = Duration::from_millis(self.0.delay_ms.load(Ordering::Relaxed).into());
            sleep(ROUND_TRIP + PER_WEIGHT * u32::try_from(weight).expect("small") + delay).await;
        };
        timeout_at(deadline, execution).await.map_err(|_| HotError::Timeout)?;
        Ok(numbers)
    }
}

/// The number of a request whose execution panics.
const PANIC: u32 = u32::MAX;

impl FakeStore {
    fn set_delay(&self, delay: Duration) {
        let millis = u32::try_from(delay.as_millis()).expect("short");
        self.delay_ms.store(millis, Ordering::Relaxed);
    }

    fn executed(&self) -> usize {
        self.executed.lock().iter().map(Vec::len).sum()
    }
}

fn start(limits: BatchLimits) -> (Batcher<Item, u32>, Arc<FakeStore>) {
    let store = Arc::<FakeStore>::default();
    let batcher = Batcher::start_with(|| FakeExecutor(store.clone()), limits, TIME);
    (batcher, store)
}

/// The result of a request, and the time that its caller waited.
type Answer = (Result<u32, HotError>, Duration);

async fn submit(batcher: &Batcher<Item, u32>, number: u32, weight: usize) -> Answer {
    let submitted_at = Instant::now();
    let result = batcher.submit((number, weight), weight).await;
    (result, submitted_at.elapsed())
}

/// Submits a request of this weight every `interval` for `duration`, and returns all answers.
async fn load(
    batcher: &Batcher<Item, u32>,
    weight: usize,
    interval: Duration,
    duration: Duration,
) -> Vec<Answer> {
    let (mut requests, started) = (JoinSet::new(), Instant::now());
    let mut number = 0;
    while interval * number < duration {
        tokio::time::sleep_until(started + interval * number).await;
        let batcher = batcher.clone();
        let own = number;
        requests.spawn(async move { submit(&batcher, own, weight).await });
        number += 1;
    }
    requests.join_all().await
}

fn accepted(answers: &[Answer]) -> Vec<Duration> {
    answers.iter().filter(|(result, _)| result.is_ok()).map(|(_, waited)| *waited).collect()
}

fn is_overloaded(answer: &Answer) -> bool {
    matches!(answer.0, Err(HotError::Overloaded))
}

#[tokio::test(start_paused = true)]
async fn request_without_load_is_sent_immediately() {
    let (batcher, store) = start(LIMITS);
    for number in 0..3 {
        let (result, waited) = submit(&batcher, number, 1).await;
        assert_eq!(result.expect("accepted"), number);
        assert!(waited < ROUND_TRIP * 3, "{waited:?}");
    }
    assert_eq!(*store.executed.lock(), [[0], [1], [2]]);
}

#[tokio::test(start_paused = true)]
async fn requests_during_a_round_trip_share_the_next_one_in_order() {
    let (batcher, store) = start(LIMITS);
    let first = submit(&batcher, 0, 1);
    let others = async {
        sleep(ROUND_TRIP / 2).await;
        join_all((1..5).map(|number| submit(&batcher, number, 1))).await
    };
    let (first, others) = tokio::join!(first, others);
    assert!(first.0.is_ok() && others.iter().all(|(result, _)| result.is_ok()));
    assert_eq!(*store.executed.lock(), [vec![0], vec![1, 2, 3, 4]]);
}

#[tokio::test(start_paused = true)]
async fn batch_has_a_maximum_weight_and_a_heavier_request_is_sent_alone() {
    let (batcher, store) = start(LIMITS);
    let weights = [60, 60, 40, 500, 10];
    let answers =
        join_all((0..).zip(weights).map(|(number, weight)| submit(&batcher, number, weight))).await;
    assert_eq!(accepted(&answers).len(), 5);
    assert_eq!(*store.executed.lock(), [vec![0], vec![1, 2], vec![3], vec![4]]);
}

#[tokio::test(start_paused = true)]
async fn overload_does_not_lower_goodput_and_accepted_requests_are_executed() {
    const WEIGHT: usize = 10;
    const BATCH: Duration = Duration::from_millis(11);
    let (batcher, store) = start(LIMITS);
    let duration = Duration::from_secs(10);
    // A batch contains at most ten requests, so the load is four times the capacity.
    let answers = load(&batcher, WEIGHT, BATCH / 40, duration).await;
    let accepted = accepted(&answers);
    assert_eq!(accepted.len(), store.executed(), "only accepted requests are executed");
    let possible = duration.div_duration_f64(BATCH) * 10.0;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let goodput = accepted.len() as f64 / possible;
    assert!(goodput > 0.95, "{goodput}");
    let slowest = accepted.iter().max().expect("some are accepted");
    assert!(*slowest <= TIME.queue + BATCH * 2, "{slowest:?}");
    let refused: Vec<_> = answers.iter().filter(|(result, _)| result.is_err()).collect();
    assert!(refused.iter().all(|answer| is_overloaded(answer)));
    let immediate = refused.iter().filter(|(_, waited)| waited.is_zero()).count();
    assert!(immediate * 100 > refused.len() * 95, "{immediate} of {}", refused.len());
}

#[tokio::test(start_paused = true)]
async fn small_requests_do_not_wait_behind_large_ones() {
    let (batcher, store) = start(LIMITS);
    let duration = Duration::from_secs(5);
    let large = load(&batcher, 400, Duration::from_millis(10), duration);
    let small = load(&batcher, 1, Duration::from_millis(3), duration);
    let (large, small) = tokio::join!(large, small);
    assert_eq!(accepted(&small).len(), small.len(), "all small requests are accepted");
    let slowest = small.iter().map(|(_, waited)| *waited).max().expect("a request");
    // At worst, a small request waits for two large and two small round trips, including its own.
    assert!(slowest < Duration::from_millis(100), "{slowest:?}");
    assert_eq!(accepted(&large).len() + small.len(), store.executed());
    let possible = duration.div_duration_f64(Duration::from_millis(45));
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let goodput = accepted(&large).len() as f64 / possible;
    assert!(goodput > 0.8, "{goodput}");
}

#[tokio::test(start_paused = true)]
async fn burst_after_light_load_is_accepted() {
    let (batcher, _store) = start(LIMITS);
    for number in 0..100 {
        submit(&batcher, number, 1).await.0.expect("accepted");
    }
    // Six full batches.
    let burst = join_all((0..600).map(|number| submit(&batcher, number, 1))).await;
    assert_eq!(accepted(&burst).len(), 600);
}

#[tokio::test(start_paused = true)]
async fn request_that_waited_too_long_is_never_sent() {
    let (batcher, store) = start(LIMITS);
    store.set_delay(TIME.queue * 2);
    let first = submit(&batcher, 0, 1);
    let second = async {
        sleep(Duration::from_millis(50)).await;
        submit(&batcher, 1, 1).await
    };
    let (first, second) = tokio::join!(first, second);
    first.0.expect("a sent request has a known outcome");
    assert!(is_overloaded(&second), "{second:?}");
    assert!(second.1 >= TIME.queue && second.1 <= TIME.queue + TICK, "{:?}", second.1);
    assert_eq!(*store.executed.lock(), [[0]]);
    store.set_delay(Duration::ZERO);
    submit(&batcher, 2, 1).await.0.expect("the store is fast again");
}

#[tokio::test(start_paused = true)]
async fn sent_request_receives_its_outcome_after_the_queue_timeout() {
    let (batcher, store) = start(LIMITS);
    store.set_delay(Duration::from_millis(200));
    let first = submit(&batcher, 0, 1);
    let second = async {
        sleep(Duration::from_millis(10)).await;
        store.set_delay(Duration::from_millis(500));
        submit(&batcher, 1, 1).await
    };
    let (first, second) = tokio::join!(first, second);
    first.0.expect("accepted");
    assert_eq!(second.0.expect("a sent request has a known outcome"), 1);
    assert!(second.1 > TIME.queue * 2 && second.1 < TIME.total, "{:?}", second.1);
}

#[tokio::test(start_paused = true)]
async fn callers_of_an_unresponsive_store_wait_for_a_limited_time() {
    let (batcher, store) = start(LIMITS);
    store.set_delay(Duration::from_secs(3_600));
    let answers = load(&batcher, 1, Duration::from_millis(10), Duration::from_secs(5)).await;
    let mut timeouts = 0;
    for (result, waited) in &answers {
        match result {
            Err(HotError::Timeout) => timeouts += 1,
            Err(HotError::Overloaded) => assert!(*waited <= TIME.queue + TICK, "{waited:?}"),
            other => panic!("{other:?}"),
        }
        assert!(*waited <= TIME.total + TICK, "{waited:?}");
    }
    assert_eq!(timeouts, store.executed(), "only sent requests have an unknown outcome");
    // Once the store has not responded for the queue timeout, requests are refused immediately.
    let immediate = answers.iter().filter(|(_, waited)| waited.is_zero()).count();
    assert!(immediate * 2 > answers.len(), "{immediate} of {}", answers.len());
}

#[tokio::test(start_paused = true)]
async fn outage_does_not_affect_later_requests() {
    let (batcher, store) = start(LIMITS);
    store.set_delay(Duration::from_millis(600));
    for number in 0..20 {
        submit(&batcher, number, 1).await.0.expect("slow but within the timeout");
    }
    store.set_delay(Duration::ZERO);
    let interval = Duration::from_millis(1);
    let answers = load(&batcher, 1, interval, Duration::from_secs(1)).await;
    let accepted = accepted(&answers).len();
    assert!(accepted > 980, "{accepted} of {}", answers.len());
}

#[tokio::test(start_paused = true)]
async fn number_and_weight_of_waiting_requests_are_bounded() {
    let limits = BatchLimits { waiting_requests: 2, waiting_weight: 300, ..LIMITS };
    let (batcher, store) = start(limits);
    let answers = join_all((0..4).map(|number| submit(&batcher, number, 1))).await;
    assert_eq!(accepted(&answers).len(), 2);
    assert!(answers[2..].iter().all(is_overloaded), "{answers:?}");
    // A single request may weigh more than the maximum.
    let answers = join_all((4..6).map(|number| submit(&batcher, number, 400))).await;
    assert_eq!(accepted(&answers).len(), 1);
    assert!(is_overloaded(&answers[1]), "{answers:?}");
    assert_eq!(store.executed(), 3);
}

#[tokio::test(start_paused = true)]
async fn capacity_is_known_before_a_request_is_submitted() {
    let (batcher, store) = start(LIMITS);
    batcher.check_capacity(50).expect("no load");
    store.set_delay(Duration::from_millis(400));
    submit(&batcher, 0, 50).await.0.expect("accepted");
    let in_flight = submit(&batcher, 1, 50);
    let check = async {
        sleep(Duration::from_millis(1)).await;
        let error = batcher.check_capacity(50).expect_err("the round trip takes too long");
        assert!(matches!(error, HotError::Overloaded));
        batcher.check_capacity(1).expect("small requests have their own round trips");
    };
    let (in_flight, ()) = tokio::join!(in_flight, check);
    in_flight.0.expect("accepted");
    assert_eq!(store.executed(), 2);
}

#[tokio::test(start_paused = true)]
async fn request_of_a_disconnected_caller_is_not_sent() {
    let (batcher, store) = start(LIMITS);
    store.set_delay(Duration::from_millis(50));
    let first = submit(&batcher, 0, 1);
    let others = async {
        sleep(Duration::from_millis(10)).await;
        let disconnect_at = Instant::now() + Duration::from_millis(10);
        let disconnected = timeout_at(disconnect_at, submit(&batcher, 1, 1)).await;
        assert!(disconnected.is_err());
        submit(&batcher, 2, 1).await
    };
    let (first, other) = tokio::join!(first, others);
    assert!(first.0.is_ok() && other.0.is_ok());
    assert_eq!(*store.executed.lock(), [[0], [2]]);
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_worker_fails_its_requests_and_is_reported() {
    let (batcher, _store) = start(LIMITS);
    let answers = join_all([PANIC, 1].map(|number| submit(&batcher, number, 1))).await;
    for (result, _) in answers.into_iter().chain([submit(&batcher, 2, 1).await]) {
        assert!(matches!(&result, Err(HotError::Unavailable(_))), "{result:?}");
    }
    assert_eq!(wait_for_panic().await, "execute batches");
}

#[tokio::test(start_paused = true)]
async fn workers_exit_with_the_last_batcher() {
    let (batcher, store) = start(LIMITS);
    submit(&batcher.clone(), 0, 1).await.0.expect("accepted");
    drop(batcher);
    advance(ROUND_TRIP).await;
    while Arc::strong_count(&store) > 1 {
        tokio::task::yield_now().await;
    }
}
