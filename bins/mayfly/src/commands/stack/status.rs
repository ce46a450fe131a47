//! `mayfly status`: shows the status of the local stack.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_live_client::terminal::print;
use mayfly_stack::control::{Checkout, Client, ControlError};
use mayfly_stack::{InstanceStatus, Readiness};
use serde_json::{Value, json};

use crate::command_line::Status;

/// The exit code if the stack is down, as the Linux Standard Base (LSB) defines for init scripts.
const DOWN: u8 = 3;

pub(crate) async fn status(options: &Status) -> Result<ExitCode> {
    let _checkout = Checkout::enter()?;
    let processes = find_processes().await?;
    let is_up = !processes.is_empty();
    if options.json {
        print(&format_json(&processes).to_string());
    } else if is_up {
        print(&format_table(&processes));
    } else {
        print("Mayfly is down. Start it with `make up`.");
    }
    Ok(if is_up { ExitCode::SUCCESS } else { ExitCode::from(DOWN) })
}

/// Returns the status of every process. The list is empty if the stack is down.
async fn find_processes() -> Result<Vec<InstanceStatus>> {
    let Some(mut supervisor) = Client::connect().await else { return Ok(Vec::new()) };
    match supervisor.status().await {
        // The supervisor has just exited.
        Err(ControlError::NoReply | ControlError::Disconnected(_)) => Ok(Vec::new()),
        other => Ok(other?),
    }
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

fn format_json(list: &[InstanceStatus]) -> Value {
    let processes: Vec<_> = list.iter().map(format_process).collect();
    json!({ "status": if list.is_empty() { "down" } else { "up" }, "processes": processes })
}

fn format_process(process: &InstanceStatus) -> Value {
    let (state, reason) = match &process.readiness {
        Readiness::Ready => ("ready", None),
        Readiness::Degraded(reason) => ("degraded", Some(reason)),
        Readiness::NotReady(reason) => ("not_ready", Some(reason)),
        Readiness::Stopped => ("stopped", None),
    };
    json!({
        "name": process.instance.to_string(),
        "pid": process.pid,
        "url": process.url,
        "state": state,
        "reason": reason,
    })
}
