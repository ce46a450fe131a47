//! `mayfly start`: starts a stopped service or server.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mayfly_live_client::terminal::print;
use mayfly_stack::ProcessKind;
use mayfly_stack::control::{Checkout, Client, Request};

pub(crate) async fn start(kind: ProcessKind) -> Result<ExitCode> {
    let _checkout = Checkout::enter()?;
    let supervisor = Client::connect().await.context("Mayfly is down; start it with `make up`");
    supervisor?.request(&Request::Start(kind)).await?;
    print(&format!("{kind} is up."));
    Ok(ExitCode::SUCCESS)
}
