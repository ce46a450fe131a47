//! Hot reads: `GET /v1/messages/{id}` of live messages, compared with a handler that returns a
//! fixed body.

use anyhow::Context as _;
use mayfly_stack::Service;

use crate::{
    effort::{Effort, LIVE_MESSAGES},
    load::{AfterRound, BareServer, Load, Requests, alternate},
    report::{Report, Row},
    system::System,
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
    let comparison =
        alternate(system, effort, &mut mayfly, &mut baseline, AfterRound::Nothing).await?;
    report.add(Row::new("hot read", "bare handler", comparison).expecting(EXPECTED));
    Ok(())
}
