//! Hot reads: `GET /v1/messages/{id}` of live messages against a handler that has the answer ready.

use anyhow::Context as _;
use mayfly_stack::Service;

use crate::{
    bare::Bare,
    effort::{Effort, LIVE_MESSAGES},
    load::Load,
    report::{Report, Row},
    requests::Requests,
    rounds::{After, alternate},
    system::System,
};

/// What the ratio is expected to be.
const EXPECTED: f64 = 0.4;
/// Longer than the measurement takes.
const TTL_SECS: u32 = 3_600;

/// Measures while nothing is written.
pub async fn measure(
    system: &mut System,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    eprintln!("hot reads ...");
    let ids = system.post_messages(LIVE_MESSAGES, TTL_SECS).await?;
    system.settle().await?;
    let first = ids.first().context("messages were posted")?;
    let bare = Bare::start(&system.get_message(first).await?).await?;
    let requests = Requests::get_messages(ids);
    let expected = bare.answer(200);
    let mut ours = Load::connect(&system.address(Service::ListApi)?, &requests, expected).await?;
    let mut other = Load::connect(&bare.address, &requests, expected).await?;
    let measured = alternate(system, effort, &mut ours, &mut other, After::Nothing).await?;
    report.add(Row::new("hot read", "bare handler", measured).expecting(EXPECTED));
    Ok(())
}
