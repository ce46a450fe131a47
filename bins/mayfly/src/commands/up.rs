//! `mayfly up`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use mayfly_stack::{Need, Service, Spec, StackEnv, ensure_installed};

use crate::checkout::Checkout;
use crate::command_line::Wishes;
use crate::commands::simulate::note::Note;
use crate::control::{Request, start_supervisor};
use crate::output::say;

pub(crate) async fn up(wishes: &Wishes) -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    apply(wishes, &checkout).await?;
    say(&describe_addresses(&checkout)?);
    say("\n`make status` says how it is, `make down` stops it.");
    Ok(ExitCode::SUCCESS)
}

/// Brings the stack of a checkout to what is wished for.
pub(crate) async fn apply(wishes: &Wishes, checkout: &Checkout) -> Result<()> {
    let spec = prepare(wishes, checkout)?;
    start_supervisor(checkout).await?.ask(&Request::Apply(Box::new(spec))).await?;
    // What a simulation that was killed had found is past.
    Note::of(&checkout.paths.home()).delete()
}

/// Makes the spec of what is wished for, and installs what it needs.
pub(crate) fn prepare(wishes: &Wishes, checkout: &Checkout) -> Result<Spec> {
    let spec = wishes.to_spec(checkout)?;
    wishes.report_ignored();
    let mut needs = Vec::new();
    needs.extend(spec.redis_url.is_none().then_some(Need::Redis));
    needs.extend(spec.database_url.is_none().then_some(Need::Postgres));
    ensure_installed(&needs)?;
    Ok(spec)
}

/// Tells where everything is, the page first of all, and what to try.
pub(crate) fn describe_addresses(checkout: &Checkout) -> Result<String> {
    let env = StackEnv::read(&checkout.paths.stack_env())?;
    let mut text = "Mayfly is up.\n".to_owned();
    for service in Service::ALL {
        for url in env.urls(service) {
            writeln!(text, "  {:<16}{url}", service.name())?;
        }
    }
    let first = |service| env.urls(service).into_iter().next();
    if let Some(page) = first(Service::WsFanout) {
        writeln!(text, "The page: {page}/")?;
    }
    if let (Some(ingest), Some(list)) = (first(Service::IngestApi), first(Service::ListApi)) {
        let json = "'Content-Type: application/json'";
        writeln!(text, "Try it:")?;
        writeln!(text, "  curl -X POST {ingest}/v1/messages -H {json} -d '{{\"text\":\"Yo\"}}'")?;
        writeln!(text, "  curl {list}/v1/messages")?;
    }
    Ok(text)
}
