//! `mayfly stop`: stops a service or server.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mayfly_live_client::terminal::print;
use mayfly_stack::ProcessKind;
use mayfly_stack::control::{Checkout, Client, Request};

pub(crate) async fn stop(kind: ProcessKind) -> Result<ExitCode> {
    let _checkout = Checkout::enter()?;
    let supervisor = Client::connect().await.context("Mayfly is already down");
    supervisor?.request(&Request::Stop(kind)).await?;
    print(&format!("{kind} is down. Start it with `mayfly start {kind}` or `make up`."));
    Ok(ExitCode::SUCCESS)
}
