//! `mayfly status`: shows the status of the local stack.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_live_client::terminal::print;
use mayfly_stack::InstanceStatus;
use mayfly_stack::control::{Checkout, Client};

pub(crate) async fn status() -> Result<ExitCode> {
    let _checkout = Checkout::enter()?;
    match Client::connect().await {
        Some(mut supervisor) => print(&format_table(&supervisor.status().await?)),
        None => print("Mayfly is down. Start it with `make up`."),
    }
    Ok(ExitCode::SUCCESS)
}

fn format_table(list: &[InstanceStatus]) -> String {
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
