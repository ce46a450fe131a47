//! `mayfly up`: starts the local stack, or applies changes to it.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use mayfly_live_client::terminal::print;
use mayfly_simulate::SavedStackFile;
use mayfly_stack::control::{Checkout, Request, start_supervisor};
use mayfly_stack::{Dependency, Service, Spec, StackEnv, ensure_installed};

use crate::command_line::StackOptions;

pub(crate) async fn up(options: &StackOptions) -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    apply(options, &checkout).await?;
    print(&describe_addresses(&checkout)?);
    print("\nShow the status with `make status`; stop with `make down`.");
    Ok(ExitCode::SUCCESS)
}

/// Applies the options to the stack of a checkout.
pub(crate) async fn apply(options: &StackOptions, checkout: &Checkout) -> Result<()> {
    let spec = prepare_spec(options, checkout)?;
    start_supervisor(checkout).await?.request(&Request::Apply(Box::new(spec))).await?;
    // A stack that a killed simulation saved is outdated now.
    SavedStackFile::new(&checkout.paths.data_dir()).delete()
}

/// Returns the spec for the options, and installs the programs that it needs.
pub(crate) fn prepare_spec(options: &StackOptions, checkout: &Checkout) -> Result<Spec> {
    let spec = options.to_spec(checkout)?;
    options.report_ignored_variables();
    let mut dependencies = Vec::new();
    dependencies.extend(spec.redis_url.is_none().then_some(Dependency::Redis));
    dependencies.extend(spec.database_url.is_none().then_some(Dependency::Postgres));
    ensure_installed(&dependencies)?;
    Ok(spec)
}

/// Describes the addresses of the services, with commands to try.
pub(crate) fn describe_addresses(checkout: &Checkout) -> Result<String> {
    let env = StackEnv::read(&checkout.paths.stack_env())?;
    let mut text = "Mayfly is up.\n".to_owned();
    for service in Service::ALL {
        for url in env.urls(service) {
            writeln!(text, "  {:<16}{url}", service.name())?;
        }
    }
    let first_url = |service| env.urls(service).into_iter().next();
    if let Some(page) = first_url(Service::WsFanout) {
        writeln!(text, "Web page: {page}/")?;
    }
    if let (Some(ingest), Some(list)) = (first_url(Service::IngestApi), first_url(Service::ListApi))
    {
        let json = "'Content-Type: application/json'";
        writeln!(text, "Try it:")?;
        writeln!(text, "  curl -X POST {ingest}/v1/messages -H {json} -d '{{\"text\":\"Yo\"}}'")?;
        writeln!(text, "  curl {list}/v1/messages")?;
    }
    Ok(text)
}
