//! `mayfly tail`: the live feed in a terminal.

mod address;
mod connection;
mod ending;
mod follower;
mod frame;
mod printer;
mod readable;
mod recent;

use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::command_line::Tail;
use crate::settings::load_settings;
use crate::signals::Signals;
pub(super) use address::Address;
pub(super) use connection::Connection;
pub(super) use ending::Ending;
use follower::Follower;
pub(super) use frame::Frame;
use printer::Printer;
use readable::Style;

/// Shows the feed until a signal comes or nobody reads it, both of which are how it is meant to end.
pub(crate) async fn tail(options: Tail) -> Result<ExitCode> {
    let address = find_address(&options)?;
    let style = match (options.json, stdout().is_terminal()) {
        (false, _) => Style::Readable,
        (true, false) => Style::Json,
        (true, true) => Style::JsonOnTerminal,
    };
    let mut signals = Signals::catch()?;
    let printer = Printer::start()?;
    let mut follower = Follower::new(address, style, &printer);
    let why = tokio::select! {
        why = follower.follow() => why,
        () = printer.unheard() => return Ok(ExitCode::SUCCESS),
        () = signals.wait() => return Ok(ExitCode::SUCCESS),
    };
    printer.finish();
    Err(why)
}

fn find_address(options: &Tail) -> Result<Address> {
    let url = match &options.url {
        Some(url) => url.clone(),
        None => load_settings()?.public.live_url,
    };
    ensure!(
        !url.is_empty(),
        "where is ws-fanout? Start the local stack with `make up`, or say so with --url or MAYFLY_PUBLIC__LIVE_URL"
    );
    Address::new(&url, options.channels.clone())
}
