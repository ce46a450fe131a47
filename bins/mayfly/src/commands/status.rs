//! `mayfly status`.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_stack::InstanceStatus;

use crate::checkout::Checkout;
use crate::control::Client;
use crate::output::say;

pub(crate) async fn status() -> Result<ExitCode> {
    let _checkout = Checkout::enter()?;
    match Client::connect().await {
        Some(mut supervisor) => say(&tabulate(&supervisor.ask_status().await?)),
        None => say("Mayfly is down; `make up` starts it."),
    }
    Ok(ExitCode::SUCCESS)
}

fn tabulate(list: &[InstanceStatus]) -> String {
    let header = format!("{:<20}{:<10}{:<46}{}\n", "NAME", "PID", "URL", "STATE");
    let rows = list.iter().map(|process| {
        let pid = process.pid.map(|pid| pid.to_string()).unwrap_or_default();
        format!(
            "{:<20}{pid:<10}{:<46}{}\n",
            process.instance.to_string(),
            process.url,
            process.readiness
        )
    });
    [header].into_iter().chain(rows).collect()
}
