//! `mayfly up`.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_stack::{Service, StackEnv, ensure_installed};

use crate::checkout::Checkout;
use crate::command_line::Wishes;
use crate::control::{Request, start_supervisor};

pub(crate) async fn up(wishes: &Wishes) -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    apply(wishes, &checkout).await?;
    print_addresses(&checkout)?;
    println!("\n`make status` says how it is, `make down` stops it.");
    Ok(ExitCode::SUCCESS)
}

/// Brings the stack of a checkout to what is wished for.
pub(crate) async fn apply(wishes: &Wishes, checkout: &Checkout) -> Result<()> {
    let spec = wishes.to_spec(checkout)?;
    wishes.report_ignored();
    ensure_installed(spec.redis_url.is_none(), spec.database_url.is_none())?;
    start_supervisor(checkout).await?.ask(&Request::Apply(Box::new(spec))).await
}

/// Prints where everything is, and what to try first.
pub(crate) fn print_addresses(checkout: &Checkout) -> Result<()> {
    let env = StackEnv::read(&checkout.paths.stack_env())?;
    println!("Mayfly is up.");
    for service in Service::ALL {
        for url in env.urls(service) {
            println!("  {:<16}{url}", service.name());
        }
    }
    let first = |service| env.urls(service).into_iter().next();
    if let (Some(ingest), Some(list)) = (first(Service::IngestApi), first(Service::ListApi)) {
        println!("Try it:");
        println!(
            "  curl -X POST {ingest}/v1/messages -H 'Content-Type: application/json' -d '{}'",
            r#"{"text":"Yo"}"#
        );
        println!("  curl {list}/v1/messages");
    }
    Ok(())
}
