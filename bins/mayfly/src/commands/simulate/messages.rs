//! `mayfly simulate messages`: writes sample messages, and says how that went.

use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use mayfly_stack::Service;
use serde::Deserialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::INTERRUPTED;
use super::api::{Answer, Api, Failure};
use super::pace::{Pace, rate, show};
use super::progress::Progress;
use super::sample::{Sample, Samples};
use crate::command_line::SimulateMessages;
use crate::output::{remark, say};
use crate::settings::find_urls;
use crate::signals::Signals;

const PATH: &str = "/v1/messages/batch";
/// How long a request that is under way may take when a signal came.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// What is read of an answer.
#[derive(Deserialize)]
struct Accepted {
    accepted: u64,
}

/// What was written so far.
#[derive(Debug, Default)]
struct Written {
    accepted: u64,
    /// Messages of requests that got no answer: they may be accepted or not.
    unknown: u64,
    requests: Pace,
}

pub(super) async fn write_messages(options: SimulateMessages) -> Result<ExitCode> {
    let urls =
        if options.url.is_empty() { find_urls(Service::IngestApi)? } else { options.url.clone() };
    let mut signals = Signals::catch()?;
    let mut api = Api::new(urls)?;
    let stopping = api.stopping.clone();
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..=u64::from(u32::MAX)));
    let mut samples = Samples::new(seed, options.users, options.cities);
    let mut progress =
        Progress::new("messages accepted", Some(options.messages), options.messages.div_ceil(10));
    let mut written = Written::default();
    let began = Instant::now();
    let mut interrupted = false;
    let mut left = options.messages;
    while left > 0 && !interrupted {
        let count = left.min(options.batch);
        left -= count;
        let batch: Vec<Sample> = (0..count).map(|_| samples.next()).collect();
        let body = Bytes::from(serde_json::to_vec(&batch)?);
        let answer;
        (answer, interrupted) = finish(api.ask(PATH, Some(body)), &mut signals, &stopping).await;
        if let Some(failure) = written.add(count, answer) {
            remark(&failure.to_string());
            break;
        }
        progress.add(count);
    }
    progress.end();
    let elapsed = began.elapsed();
    written.report(&options, elapsed, api.waited);
    say(&format!("seed {seed} makes these messages again"));
    Ok(match (written.accepted == options.messages, interrupted) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(INTERRUPTED),
        (false, false) => ExitCode::FAILURE,
    })
}

/// Waits for an answer, when a signal comes only a moment longer, and not for a further attempt; gives
/// whether one came.
async fn finish(
    asked: impl Future<Output = Result<Answer, Failure>>,
    signals: &mut Signals,
    stopping: &CancellationToken,
) -> (Result<Answer, Failure>, bool) {
    let mut asked = pin!(asked);
    tokio::select! {
        answer = &mut asked => (answer, false),
        () = signals.wait() => {
            stopping.cancel();
            let answer = timeout(FINISH_WITHIN, asked).await;
            (answer.unwrap_or_else(|_| Err(Failure::Unanswered("interrupted".to_owned()))), true)
        }
    }
}

impl Written {
    /// Counts what became of a request; gives a failure after which no further one makes sense.
    fn add(&mut self, count: u64, answer: Result<Answer, Failure>) -> Option<Failure> {
        let failure = match answer {
            Ok(answer) => {
                self.requests.add(answer.took);
                match serde_json::from_slice::<Accepted>(&answer.body) {
                    Ok(said) if said.accepted == count => {
                        self.accepted += count;
                        return None;
                    }
                    _ => Failure::Unanswered(format!(
                        "{count} were sent, and it names another number"
                    )),
                }
            }
            Err(failure) => failure,
        };
        if matches!(failure, Failure::Unanswered(_)) {
            self.unknown += count;
        }
        Some(failure)
    }

    fn report(&self, options: &SimulateMessages, elapsed: Duration, waited: Duration) {
        say(&format!(
            "{} of {} messages accepted in {}: {:.0}/s",
            self.accepted,
            options.messages,
            show(elapsed),
            rate(self.accepted, elapsed)
        ));
        if self.unknown > 0 {
            say(&format!("{} more had no answer and may be accepted or not", self.unknown));
        }
        say(&format!(
            "{} requests of up to {}: median {}, slowest {}",
            self.requests.len(),
            options.batch,
            show(self.requests.median()),
            show(self.requests.slowest())
        ));
        if !waited.is_zero() {
            say(&format!("{} of it waiting for the service", show(waited)));
        }
    }
}
