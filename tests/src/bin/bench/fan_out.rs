//! Fan-out: the highest rate of messages that reach every one of many sockets in time, from
//! `POST /v1/messages/batch` on, against two servers that only write: a plain loop, with a write
//! for each message and socket, and one that joins whatever waits, with a write for each socket.

mod audience;
mod contestant;
mod floor;
mod frames;
mod handshake;
mod pace;
mod poster;
mod search;
mod stamp;

use std::time::Duration;

use anyhow::{Context as _, bail};
use mayfly_stack::Service;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::time::timeout;

use self::{
    contestant::{Best, Contestant, Source},
    frames::{Seen, Walker},
    poster::{POST_EVERY, Poster},
    search::Search,
};
use crate::{
    effort::Effort,
    report::{Measured, Report, Row},
    requests::MESSAGE_BYTES,
    statistics::median,
    system::System,
};

pub use self::floor::{Arguments, Floor, Way, serve};

/// Sockets that every message goes to.
pub const SOCKETS: usize = 1_000;
/// How long the first message may take.
const RECEIVE_WITHIN: Duration = Duration::from_secs(10);
/// What the ratios are expected to be, to the plain loop and to the joining one.
const EXPECTED: [f64; 2] = [1.0, 0.25];

/// Measures while nothing is stored.
pub async fn measure(
    system: &mut System,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    eprintln!("fan-out ...");
    raise_limit()?;
    system.stop_worker().await?;
    let fanout = system.address(Service::WsFanout)?;
    let payload = timeout(RECEIVE_WITHIN, receive_one(system, &fanout)).await;
    let payload = payload.context("a message does not come out of ws-fanout")??;
    let poster = Poster::new(system.address(Service::IngestApi)?)?;
    let plain = Floor::start(Way::Plain, &payload).await?;
    let joining = Floor::start(Way::Joining, &payload).await?;
    let mut contestants = [
        Contestant::seat(fanout, Source::Mayfly(poster)).await?,
        Contestant::seat(plain.address.clone(), Source::Floor(plain)).await?,
        Contestant::seat(joining.address.clone(), Source::Floor(joining)).await?,
    ];
    let mut found: Vec<[Best; 3]> = Vec::new();
    for _ in 0..effort.searches {
        found.push(search(&mut contestants, effort, found.last()).await?);
    }
    system.recount().await?;
    drop(contestants);
    system.start_worker().await?;
    system.settle().await?;
    tell(&found, frames::text_frame(payload.as_bytes()).len(), report);
    Ok(())
}

/// Finds the highest rate of each, near where it was before, one step of each in turns.
async fn search(
    contestants: &mut [Contestant; 3],
    effort: &Effort,
    before: Option<&[Best; 3]>,
) -> anyhow::Result<[Best; 3]> {
    let mut searches: [Search; 3] = std::array::from_fn(|number| {
        Search::new(before.map(|best| best[number].rate), effort.precision)
    });
    let mut found = [None; 3];
    let mut is_over = false;
    while !is_over {
        is_over = true;
        for (number, contestant) in contestants.iter_mut().enumerate() {
            let Some(rate) = searches[number].next() else { continue };
            is_over = false;
            let latency = contestant.attempt(rate, effort.step).await?;
            searches[number].note(rate, latency.is_some());
            found[number] = latency.map(|latency| Best { rate, latency }).or(found[number]);
        }
    }
    let [Some(ours), Some(plain), Some(joining)] = found else {
        bail!("not even a message a second comes to everyone in time");
    };
    Ok([ours, plain, joining])
}

/// What ws-fanout makes of a message.
async fn receive_one(system: &mut System, fanout: &str) -> anyhow::Result<String> {
    let (stream, mut received) = handshake::connect(fanout).await?;
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
        Walker::default().walk(&received, |seen| {
            if let Seen::Message(Some(whole)) = seen {
                payload = Some(whole.to_vec());
            }
        });
    }
    let payload = payload.context("invariant: the loop ends with one")?;
    Ok(String::from_utf8(payload)?)
}

/// Puts what was found into the report.
fn tell(found: &[[Best; 3]], frame_bytes: usize, report: &mut Report) {
    const AGAINST: [&str; 2] = ["plain loop", "joining loop"];
    let of =
        |contestant: usize| -> Vec<Best> { found.iter().map(|best| best[contestant]).collect() };
    let rate = |bests: &[Best]| median(bests.iter().map(|best| best.rate));
    let ours = of(0);
    for (number, (against, expected)) in AGAINST.into_iter().zip(EXPECTED).enumerate() {
        let theirs = of(number + 1);
        let measured = Measured {
            ratios: ours
                .iter()
                .zip(&theirs)
                .map(|(ours, theirs)| ours.rate / theirs.rate)
                .collect(),
            ours: deliveries(rate(&ours)),
            other: deliveries(rate(&theirs)),
            latency: Some(contestant::middle(&ours).latency),
            other_latency: Some(contestant::middle(&theirs).latency),
            failures: 0,
        };
        report.add(Row::new("fan-out, deliveries", against, measured).expecting(expected));
    }
    report.notes.push(format!(
        "fan-out: messages of {MESSAGE_BYTES} bytes of JSON, frames of {frame_bytes} bytes, {SOCKETS} sockets, a batch\n\
         posted every {POST_EVERY:?}, nothing stored meanwhile; nothing lost and p99 below {:?} at",
        contestant::LATENCY_MAX
    ));
    for (number, name) in ["Mayfly", "plain loop", "joining loop"].into_iter().enumerate() {
        let rate = rate(&of(number));
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let megabytes = deliveries(rate) * frame_bytes as f64 / 1e6;
        report.notes.push(format!("  {name:<13} {rate:>7.0} messages/s, {megabytes:>6.0} MB/s"));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn deliveries(rate: f64) -> f64 {
    rate * SOCKETS as f64
}

/// Shells start with fewer files than there are sockets.
fn raise_limit() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot open so many sockets")
}
