//! `mayfly stop`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mayfly_stack::Part;

use crate::checkout::Checkout;
use crate::control::{Client, Request};
use crate::output::say;

pub(crate) async fn stop(part: Part) -> Result<ExitCode> {
    let _checkout = Checkout::enter()?;
    let supervisor = Client::connect().await.context("Mayfly is down already");
    supervisor?.ask(&Request::Stop(part)).await?;
    say(&format!("{part} is down; `mayfly start {part}` or the next `make up` starts it."));
    Ok(ExitCode::SUCCESS)
}
