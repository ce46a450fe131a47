//! Hot reads: `GET /v1/messages/{id}` of live messages, compared with a handler that returns a
//! fixed body.

use anyhow::Context as _;
use mayfly_stack::Service;

use crate::{
    effort::{Effort, LIVE_MESSAGES},
    load::{AfterRound, BareServer, Contender, Load, Requests, Response, alternate},
    report::{Report, Row},
    system::{KEYS_EXPECTED, MODE_OPEN, Modes, System},
};

/// The expected ratio.
const EXPECTED: f64 = 0.4;
/// Longer than the measurement.
const TTL_SECS: u32 = 3_600;

/// Measures hot reads without concurrent writes.
pub async fn measure(
    system: &mut System,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    eprintln!("hot reads ...");
    let ids = system.post_messages(LIVE_MESSAGES, TTL_SECS).await?;
    system.wait_until_stored().await?;
    let first = ids.first().context("messages were posted")?;
    let bare = BareServer::start(&system.get_message(first).await?).await?;
    let requests = Requests::get_messages(ids, &system.authorization);
    let expected = bare.expected_response(200);
    let mut mayfly = Load::connect(&system.address(Service::ListApi)?, &requests, expected).await?;
    let mut baseline = Load::connect(&bare.address, &requests, expected).await?;
    let contender = Contender::mayfly(system, Service::ListApi, &mut mayfly, AfterRound::Nothing);
    let comparison = alternate(effort, contender, Contender::baseline(&mut baseline)).await?;
    report.add(Row::new("hot read", "bare handler", comparison).expecting(EXPECTED));
    Ok(())
}

/// Compares hot reads by callers with an API key with hot reads in the mode `open`.
pub async fn compare_modes(
    modes: &mut Modes,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    eprintln!("hot reads ...");
    let mut loads = Vec::new();
    for system in [&mut modes.keys, &mut modes.open] {
        let ids = system.post_messages(LIVE_MESSAGES, TTL_SECS).await?;
        system.wait_until_stored().await?;
        let first = ids.first().context("messages were posted")?;
        let expected = Response { status: 200, length: system.get_message(first).await?.len() };
        let requests = Requests::get_messages(ids, &system.authorization);
        let address = system.address(Service::ListApi)?;
        loads.push(Load::connect(&address, &requests, expected).await?);
    }
    let comparison = modes.alternate(effort, Service::ListApi, loads, AfterRound::Nothing).await?;
    report.add(Row::new("hot read", MODE_OPEN, comparison).expecting(KEYS_EXPECTED));
    Ok(())
}
