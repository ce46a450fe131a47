//! Ingest: `POST /v1/messages`, compared with a handler that parses the same body and returns a
//! fixed response.

use mayfly_stack::Service;

use crate::{
    effort::Effort,
    load::{AfterRound, BareServer, Load, Requests, alternate},
    report::{Report, Row},
    system::System,
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
    let comparison =
        alternate(system, effort, &mut mayfly, &mut baseline, AfterRound::CountAccepted).await?;
    report.add(Row::new("ingest", "bare handler", comparison).expecting(EXPECTED));

    system.start_worker().await?;
    system.wait_until_stored().await?;
    let comparison =
        alternate(system, effort, &mut mayfly, &mut baseline, AfterRound::WaitUntilStored).await?;
    report.add(Row::new("ingest, while storing", "bare handler", comparison));
    Ok(())
}
