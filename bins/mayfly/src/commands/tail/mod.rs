//! `mayfly tail`: prints the live feed to standard output.

mod follower;
mod output_format;
mod printer;
mod recent_ids;

use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use mayfly_live_client::FeedAddress;

use crate::command_line::Tail;
use crate::settings::load_settings;
use crate::signals::cancel_on_signal;
use follower::Follower;
use output_format::OutputFormat;
use printer::Printer;

/// Prints the feed until a signal arrives or standard output is closed. Neither is an error.
pub(crate) async fn tail(options: Tail) -> Result<ExitCode> {
    let address = find_address(&options)?;
    let format = match (options.json, stdout().is_terminal()) {
        (false, _) => OutputFormat::Text,
        (true, false) => OutputFormat::Json,
        (true, true) => OutputFormat::EscapedJson,
    };
    let interrupt = cancel_on_signal()?;
    let printer = Printer::start()?;
    let mut follower = Follower::new(address, options.key_file, format, &printer);
    let error = tokio::select! {
        error = follower.follow() => error,
        () = printer.closed() => return Ok(ExitCode::SUCCESS),
        () = interrupt.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    printer.finish();
    Err(error)
}

fn find_address(options: &Tail) -> Result<FeedAddress> {
    let url = match &options.url {
        Some(url) => url.clone(),
        None => load_settings()?.public.live_url,
    };
    ensure!(
        !url.is_empty(),
        "the URL of ws-fanout is unknown: start the local stack with `make up`, or set --url or \
         MAYFLY_PUBLIC__LIVE_URL"
    );
    Ok(FeedAddress::new(&url, options.channels.clone())?)
}
