//! `mayfly simulate messages`: writes sample messages.

mod sample;

use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use mayfly_live_client::terminal::{print, print_err};
use serde::Deserialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::INTERRUPTED;
use crate::http_client::{HttpClient, RequestError, Response};
use crate::options::MessagesOptions;
use crate::progress::Progress;
use crate::request_times::{RequestTimes, format_duration, rate};
use sample::{Sample, SampleGenerator};

const PATH: &str = "/v1/messages/batch";
/// The maximum time to wait for the request in progress after an interrupt.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// The response to a batch.
#[derive(Deserialize)]
struct Accepted {
    accepted: u64,
}

/// The outcome of the requests so far.
#[derive(Debug, Default)]
struct Written {
    accepted: u64,
    /// The number of messages in requests with an unknown outcome. These messages may have been
    /// accepted.
    unknown: u64,
    requests: RequestTimes,
}

/// Writes sample messages to the instances of ingest-api at `urls`. Stops when a request fails or
/// `interrupt` is canceled.
pub async fn write_messages(
    options: &MessagesOptions,
    urls: Vec<String>,
    interrupt: CancellationToken,
) -> Result<ExitCode> {
    let mut client = HttpClient::new(urls, options.key_file.as_ref(), interrupt.clone())?;
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..=u64::from(u32::MAX)));
    let mut samples = SampleGenerator::new(seed, options.users, options.cities);
    let mut progress =
        Progress::new("messages accepted", Some(options.messages), options.messages.div_ceil(10));
    let mut written = Written::default();
    let started = Instant::now();
    let mut remaining = options.messages;
    while remaining > 0 && !interrupt.is_cancelled() {
        let count = remaining.min(options.batch);
        remaining -= count;
        let batch: Vec<Sample> = (0..count).map(|_| samples.generate()).collect();
        let body = Bytes::from(serde_json::to_vec(&batch)?);
        let response = finish(client.send(PATH, Some(body)), &interrupt).await;
        if let Some(error) = written.add(count, response) {
            print_err(&error.to_string());
            break;
        }
        progress.add(count);
    }
    progress.finish();
    written.print(options, started.elapsed(), client.wait_time);
    print(&format!("use --seed {seed} to write the same messages again"));
    Ok(match (written.accepted == options.messages, interrupt.is_cancelled()) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(INTERRUPTED),
        (false, false) => ExitCode::FAILURE,
    })
}

/// Waits for a response. After an interrupt, waits at most [`FINISH_TIMEOUT`].
async fn finish(
    request: impl Future<Output = Result<Response, RequestError>>,
    interrupt: &CancellationToken,
) -> Result<Response, RequestError> {
    let mut request = pin!(request);
    tokio::select! {
        response = &mut request => response,
        () = interrupt.cancelled() => timeout(FINISH_TIMEOUT, request)
            .await
            .unwrap_or_else(|_| Err(RequestError::NoResponse("interrupted".to_owned()))),
    }
}

impl Written {
    /// Adds the outcome of a request with `count` messages. Returns an error unless the response
    /// confirms that all messages were accepted.
    fn add(
        &mut self,
        count: u64,
        response: Result<Response, RequestError>,
    ) -> Option<RequestError> {
        let error = match response {
            Ok(response) => {
                self.requests.add(response.duration);
                match serde_json::from_slice::<Accepted>(&response.body) {
                    Ok(body) if body.accepted == count => {
                        self.accepted += count;
                        return None;
                    }
                    _ => RequestError::NoResponse(format!(
                        "the response does not confirm all {count} messages"
                    )),
                }
            }
            Err(error) => error,
        };
        if error.is_outcome_unknown() {
            self.unknown += count;
        }
        Some(error)
    }

    fn print(&self, options: &MessagesOptions, elapsed: Duration, wait_time: Duration) {
        print(&format!(
            "{} of {} messages accepted in {}: {:.0}/s",
            self.accepted,
            options.messages,
            format_duration(elapsed),
            rate(self.accepted, elapsed)
        ));
        if self.unknown > 0 {
            print(&format!("{} more have an unknown outcome", self.unknown));
        }
        print(&format!(
            "{} requests of up to {}: median {}, slowest {}",
            self.requests.len(),
            options.batch,
            format_duration(self.requests.median()),
            format_duration(self.requests.slowest())
        ));
        if !wait_time.is_zero() {
            print(&format!("{} spent waiting for the service", format_duration(wait_time)));
        }
    }
}
