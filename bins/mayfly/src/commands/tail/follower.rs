//! Follows the feed over as many connections as it takes.

use std::time::{Duration, Instant};

use mayfly_core::message::MessageView;
use tokio::time::sleep;

use super::address::Address;
use super::connection::Connection;
use super::ending::Ending;
use super::frame::Frame;
use super::printer::Printer;
use super::readable::{Style, describe, escape, escape_json};
use super::recent::Recent;
use crate::output::remark;

/// A connection that lasted so long was a good one: the next pause is a short one again.
const STEADY_AFTER: Duration = Duration::from_secs(5);

/// What is known from one connection to the next.
pub(super) struct Follower<'a> {
    address: Address,
    style: Style,
    printer: &'a Printer,
    /// Where to go on.
    position: Option<String>,
    recent: Recent,
}

impl<'a> Follower<'a> {
    pub(super) fn new(address: Address, style: Style, printer: &'a Printer) -> Self {
        Self { address, style, printer, position: None, recent: Recent::default() }
    }

    /// Follows until no further try makes sense; gives the reason.
    pub(super) async fn follow(&mut self) -> anyhow::Error {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let ending = self.follow_once().await;
            if began.elapsed() >= STEADY_AFTER {
                failures = 0;
            }
            let Some(pause) = ending.pause(failures, fastrand::f64()) else {
                return anyhow::anyhow!("{}: {ending}", self.address.describe());
            };
            remark(&format!("{ending}; trying again in {:.1} s", pause.as_secs_f64()));
            failures += 1;
            sleep(pause).await;
        }
    }

    async fn follow_once(&mut self) -> Ending {
        let url = self.address.behind(self.position.as_deref());
        let mut connection = match Connection::open(&url).await {
            Ok(connection) => connection,
            Err(ending) => return ending,
        };
        let mut greeted = false;
        loop {
            let text = match connection.next().await {
                Ok(text) => text,
                Err(ending) => return ending,
            };
            let Some(frame) = Frame::parse(&text) else { continue };
            match &*frame.kind {
                "hello" if greeted => report_resumption(&frame),
                "hello" => {
                    greeted = true;
                    if let Some(interval) = frame.ping_interval() {
                        connection.expect_pings(interval);
                    }
                    remark(&format!("connected to {}", self.address.describe()));
                    report_resumption(&frame);
                }
                "message" => self.show_message(&frame, &text).await,
                "expired" => self.show_frame(&text).await,
                "gap" => {
                    remark(&format!(
                        "missed {} frames: they came faster than they were read",
                        frame.dropped.unwrap_or(0)
                    ));
                    self.show_frame(&text).await;
                }
                _ => {}
            }
            if let Some(position) = frame.position {
                self.position = Some(position.into_owned());
            }
        }
    }

    /// Shows a message that was not shown before.
    async fn show_message(&mut self, frame: &Frame<'_>, text: &str) {
        let Some(message) =
            frame.message.and_then(|json| MessageView::from_json(json.get().as_bytes()).ok())
        else {
            return;
        };
        if !self.recent.insert(message.id) {
            return;
        }
        match self.style {
            Style::Readable => self.printer.print(describe(&message)).await,
            _ => self.show_frame(text).await,
        }
    }

    /// Shows a frame to programs.
    async fn show_frame(&self, text: &str) {
        match self.style {
            Style::Readable => {}
            Style::Json => self.printer.print(text.to_owned()).await,
            Style::JsonOnTerminal => self.printer.print(escape_json(text)).await,
        }
    }
}

/// Says whether something may have been missed before this frame.
fn report_resumption(hello: &Frame<'_>) {
    match (hello.resumed, hello.reason.as_deref()) {
        (Some(true), _) => remark("resumed"),
        (Some(false), reason) => {
            remark(&format!(
                "missed what came before: {}",
                explain(reason.unwrap_or("no reason given"))
            ));
        }
        (None, _) => {}
    }
}

fn explain(reason: &str) -> String {
    match reason {
        "window" => "window (it is longer ago than the server keeps)".to_owned(),
        "data_lost" => "data_lost (Redis lost it)".to_owned(),
        "unknown_position" => "unknown_position (the server does not know where it was)".to_owned(),
        other => escape(other),
    }
}
