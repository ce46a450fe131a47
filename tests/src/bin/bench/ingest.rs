//! Ingest: `POST /v1/messages`, with everything that is done for a message, against a handler that
//! parses the same body and answers.

use mayfly_stack::Service;

use crate::{
    bare::Bare,
    effort::Effort,
    load::Load,
    report::{Report, Row},
    requests::Requests,
    rounds::{After, alternate},
    system::System,
};

/// What the ratio is expected to be.
const EXPECTED: f64 = 0.35;

/// Measures the way in alone, which is what the expectation is about, and once more while
/// persist-worker stores on the same cores.
pub async fn measure(
    system: &mut System,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    eprintln!("ingest ...");
    let requests = Requests::post_messages();
    let bare = Bare::start(&system.post_message().await?).await?;
    let expected = bare.answer(202);
    let mut ours = Load::connect(&system.address(Service::IngestApi)?, &requests, expected).await?;
    let mut other = Load::connect(&bare.address, &requests, expected).await?;

    system.stop_worker().await?;
    let measured = alternate(system, effort, &mut ours, &mut other, After::Count).await?;
    report.add(Row::new("ingest", "bare handler", measured).expecting(EXPECTED));

    system.start_worker().await?;
    system.settle().await?;
    let measured = alternate(system, effort, &mut ours, &mut other, After::Settle).await?;
    report.add(Row::new("ingest, while storing", "bare handler", measured));
    Ok(())
}
