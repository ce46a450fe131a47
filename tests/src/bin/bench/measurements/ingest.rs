//! Ingest: `POST /v1/messages`, compared with a handler that parses the same body and returns a
//! fixed response.

use mayfly_stack::Service;

use crate::{
    effort::Effort,
    load::{AfterRound, BareServer, Contender, Load, Requests, Response, alternate},
    report::{Report, Row},
    system::{KEYS_EXPECTED, MODE_OPEN, Modes, System},
};

/// The expected ratio.
const EXPECTED: f64 = 0.35;

/// Measures ingest without `persist-worker`, which the expected ratio refers to, and again while
/// `persist-worker` stores messages on the same cores.
pub async fn measure(
    system: &mut System,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    eprintln!("ingest ...");
    let requests = Requests::post_messages(&system.authorization);
    let bare = BareServer::start(&system.post_message().await?).await?;
    let expected = bare.expected_response(202);
    let mut mayfly =
        Load::connect(&system.address(Service::IngestApi)?, &requests, expected).await?;
    let mut baseline = Load::connect(&bare.address, &requests, expected).await?;

    system.stop_worker().await?;
    let contender =
        Contender::mayfly(system, Service::IngestApi, &mut mayfly, AfterRound::CountAccepted);
    let comparison = alternate(effort, contender, Contender::baseline(&mut baseline)).await?;
    report.add(Row::new("ingest", "bare handler", comparison).expecting(EXPECTED));

    system.start_worker().await?;
    system.wait_until_stored().await?;
    let contender =
        Contender::mayfly(system, Service::IngestApi, &mut mayfly, AfterRound::WaitUntilStored);
    let comparison = alternate(effort, contender, Contender::baseline(&mut baseline)).await?;
    report.add(Row::new("ingest, while storing", "bare handler", comparison));
    Ok(())
}

/// Compares ingest by callers with an API key with ingest in the mode `open`, without
/// `persist-worker`.
pub async fn compare_modes(
    modes: &mut Modes,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    eprintln!("ingest ...");
    let mut loads = Vec::new();
    for system in [&mut modes.keys, &mut modes.open] {
        let requests = Requests::post_messages(&system.authorization);
        let expected = Response { status: 202, length: system.post_message().await?.len() };
        let address = system.address(Service::IngestApi)?;
        loads.push(Load::connect(&address, &requests, expected).await?);
        system.stop_worker().await?;
    }
    let comparison =
        modes.alternate(effort, Service::IngestApi, loads, AfterRound::CountAccepted).await?;
    report.add(Row::new("ingest", MODE_OPEN, comparison).expecting(KEYS_EXPECTED));
    for system in [&modes.keys, &modes.open] {
        system.start_worker().await?;
        system.wait_until_stored().await?;
    }
    Ok(())
}
