//! `mayfly start`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mayfly_stack::Part;

use crate::checkout::Checkout;
use crate::control::{Client, Request};
use crate::output::say;

pub(crate) async fn start(part: Part) -> Result<ExitCode> {
    let _checkout = Checkout::enter()?;
    let supervisor = Client::connect().await.context("Mayfly is down; `make up` starts it");
    supervisor?.ask(&Request::Start(part)).await?;
    say(&format!("{part} is up."));
    Ok(ExitCode::SUCCESS)
}
