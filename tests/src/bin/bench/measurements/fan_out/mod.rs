//! Fan-out: the highest rate of messages posted to `POST /v1/messages/batch` that reach all of many
//! sockets in time. The baselines are two servers that only write: one writes each message to each
//! socket separately, the other coalesces all due messages into one write per socket.

mod baseline;
mod candidate;
mod frames;
mod handshake;
mod poster;
mod schedule;
mod search;
mod subscribers;
mod timestamp;

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use mayfly_stack::Service;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::time::timeout;

use self::{
    baseline::Baseline,
    candidate::{Best, Candidate, Source},
    frames::{FrameScanner, ScannedFrame},
    poster::{POST_INTERVAL, Poster},
    search::Search,
};
use crate::{
    effort::Effort,
    load::MESSAGE_BYTES,
    report::{Comparison, Report, Row, median},
    system::{KEYS_EXPECTED, MODE_OPEN, Modes, System},
};

pub use self::baseline::{Arguments, WriteMode, serve};

/// The number of sockets that receive every message.
pub const SOCKETS: usize = 1_000;
/// How long the first message may take.
const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The number and duration of the rounds that compare the CPU times of two modes.
const CPU_ROUNDS: usize = 21;
const CPU_ROUND: Duration = Duration::from_secs(1);
/// The expected ratios to the plain and the coalescing loop.
const EXPECTED: [f64; 2] = [1.0, 0.25];

/// Measures fan-out while no worker stores messages.
pub async fn measure(
    system: &mut System,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    eprintln!("fan-out ...");
    raise_file_limit()?;
    system.stop_worker().await?;
    let (mayfly, payload) = connect(system).await?;
    let plain = Baseline::start(WriteMode::Plain, &payload).await?;
    let coalescing = Baseline::start(WriteMode::Coalescing, &payload).await?;
    let mut candidates = [
        mayfly,
        Candidate::connect(plain.address.clone(), String::new(), Source::Baseline(plain)).await?,
        Candidate::connect(coalescing.address.clone(), String::new(), Source::Baseline(coalescing))
            .await?,
    ];
    let mut found: Vec<[Best; 3]> = Vec::new();
    for _ in 0..effort.searches {
        found.push(search(&mut candidates, effort, found.last()).await?);
    }
    system.refresh_accepted().await?;
    drop(candidates);
    system.start_worker().await?;
    system.wait_until_stored().await?;
    add_to_report(&found, frames::text_frame(payload.as_bytes()).len(), report);
    Ok(())
}

/// Compares fan-out to sockets with an API key with fan-out in the mode `open`, while no worker
/// stores messages.
pub async fn compare_modes(
    modes: &mut Modes,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    eprintln!("fan-out ...");
    raise_file_limit()?;
    for system in [&modes.keys, &modes.open] {
        system.stop_worker().await?;
    }
    let mut candidates = [connect(&mut modes.keys).await?.0, connect(&mut modes.open).await?.0];
    let mut found: Vec<[Best; 2]> = Vec::new();
    for _ in 0..effort.searches {
        found.push(search(&mut candidates, effort, found.last()).await?);
    }
    let cpu_ratios = compare_cpu_times(modes, &mut candidates, &found).await?;
    drop(candidates);
    let comparison = Comparison { cpu_ratios, ..compare(&found, 1) };
    report.add(Row::new("fan-out, deliveries", MODE_OPEN, comparison).expecting(KEYS_EXPECTED));
    Ok(())
}

/// Compares the CPU time of ws-fanout in both modes, at half of the lowest rate found. There,
/// messages are rarely delayed, so that each of them costs a constant time.
async fn compare_cpu_times(
    modes: &Modes,
    candidates: &mut [Candidate; 2],
    found: &[[Best; 2]],
) -> anyhow::Result<Vec<f64>> {
    let rate = found.iter().flatten().map(|best| best.rate).fold(f64::INFINITY, f64::min) / 2.0;
    let mut cpu_ratios = Vec::new();
    for _ in 0..CPU_ROUNDS {
        let mut times = [Duration::ZERO; 2];
        for (number, system) in [&modes.keys, &modes.open].into_iter().enumerate() {
            let before = system.cpu_time(Service::WsFanout).await?;
            let latency = candidates[number].send(rate, CPU_ROUND).await?;
            ensure!(latency.is_some(), "half of the highest rate was not delivered");
            let after = system.cpu_time(Service::WsFanout).await?;
            times[number] = after.saturating_sub(before);
        }
        cpu_ratios.push(times[1].div_duration_f64(times[0]));
    }
    Ok(cpu_ratios)
}

/// Connects subscribers to Mayfly. Also returns the payload of a frame.
async fn connect(system: &mut System) -> anyhow::Result<(Candidate, String)> {
    let fanout = system.address(Service::WsFanout)?;
    let payload = timeout(FIRST_MESSAGE_TIMEOUT, receive_one(system, &fanout)).await;
    let payload = payload.context("ws-fanout did not deliver a message in time")??;
    let authorization = system.authorization.clone();
    let poster = Poster::new(system.address(Service::IngestApi)?, authorization.clone())?;
    Ok((Candidate::connect(fanout, authorization, Source::Mayfly(poster)).await?, payload))
}

/// Searches for the highest rate of each candidate, one step of each in turn, starting near the
/// previous result.
async fn search<const N: usize>(
    candidates: &mut [Candidate; N],
    effort: &Effort,
    previous: Option<&[Best; N]>,
) -> anyhow::Result<[Best; N]> {
    let mut searches: [Search; N] = std::array::from_fn(|number| {
        Search::new(previous.map(|best| best[number].rate), effort.precision)
    });
    let mut found = [None; N];
    let mut is_done = false;
    while !is_done {
        is_done = true;
        for (number, candidate) in candidates.iter_mut().enumerate() {
            let Some(rate) = searches[number].next() else { continue };
            is_done = false;
            let latency = candidate.attempt(rate, effort.step).await?;
            searches[number].record(rate, latency.is_some());
            found[number] = latency.map(|latency| Best { rate, latency }).or(found[number]);
        }
    }
    if found.iter().any(Option::is_none) {
        bail!("not even one message per second reaches all sockets in time");
    }
    Ok(found.map(Option::unwrap_or_default))
}

/// Posts a message and returns the payload of its frame.
async fn receive_one(system: &mut System, fanout: &str) -> anyhow::Result<String> {
    let (stream, mut received) = handshake::connect(fanout, &system.authorization).await?;
    system.post_message().await?;
    let mut payload = None;
    while payload.is_none() {
        stream.readable().await?;
        match stream.try_read_buf(&mut received) {
            Ok(0) => bail!("ws-fanout closed a connection"),
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                return Err(error.into());
            }
            _ => {}
        }
        FrameScanner::default().scan(&received, |frame| {
            if let ScannedFrame::Message(Some(complete)) = frame {
                payload = Some(complete.to_vec());
            }
        });
    }
    let payload = payload.context("invariant: the loop ends with a payload")?;
    Ok(String::from_utf8(payload)?)
}

fn add_to_report(found: &[[Best; 3]], frame_bytes: usize, report: &mut Report) {
    const BASELINES: [&str; 2] = ["plain loop", "coalescing loop"];
    for (number, (name, expected)) in BASELINES.into_iter().zip(EXPECTED).enumerate() {
        let comparison = compare(found, number + 1);
        report.add(Row::new("fan-out, deliveries", name, comparison).expecting(expected));
    }
    report.notes.push(format!(
        "fan-out: messages of {MESSAGE_BYTES} bytes of JSON, frames of {frame_bytes} bytes, {SOCKETS} sockets, a batch\n\
         posted every {POST_INTERVAL:?}, no worker running; no losses and p99 below {:?} at",
        candidate::MAX_LATENCY
    ));
    for (number, name) in ["Mayfly", BASELINES[0], BASELINES[1]].into_iter().enumerate() {
        let rate = median_rate(&bests(found, number));
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let megabytes = deliveries(rate) * frame_bytes as f64 / 1e6;
        report.notes.push(format!("  {name:<15} {rate:>7.0} messages/s, {megabytes:>6.0} MB/s"));
    }
}

/// Compares the results of the first candidate with those of another one.
fn compare<const N: usize>(found: &[[Best; N]], other: usize) -> Comparison {
    let (mayfly, baseline) = (bests(found, 0), bests(found, other));
    Comparison {
        ratios: mayfly
            .iter()
            .zip(&baseline)
            .map(|(mayfly, baseline)| mayfly.rate / baseline.rate)
            .collect(),
        cpu_ratios: Vec::new(),
        mayfly: deliveries(median_rate(&mayfly)),
        baseline: deliveries(median_rate(&baseline)),
        latency: Some(candidate::median_best(&mayfly).latency),
        baseline_latency: Some(candidate::median_best(&baseline).latency),
        failures: 0,
    }
}

fn bests<const N: usize>(found: &[[Best; N]], candidate: usize) -> Vec<Best> {
    found.iter().map(|best| best[candidate]).collect()
}

fn median_rate(bests: &[Best]) -> f64 {
    median(bests.iter().map(|best| best.rate))
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn deliveries(rate: f64) -> f64 {
    rate * SOCKETS as f64
}

/// Raises the limit on open files, which is lower than the number of sockets by default.
fn raise_file_limit() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit on open files")
}
