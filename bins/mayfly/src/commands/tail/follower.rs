//! Follows the feed across connections.

use std::time::Instant;

use mayfly_core::message::MessageView;
use mayfly_live_client::terminal::{escape, escape_json, print_err};
use mayfly_live_client::{Connection, Disconnect, FeedAddress, Frame, KeyFile, ReconnectBackoff};
use tokio::time::sleep;

use super::output_format::{OutputFormat, format_message};
use super::printer::Printer;
use super::recent_ids::RecentIds;

/// A follower of a feed. It prints the frames and resumes after a disconnect.
pub(super) struct Follower<'a> {
    address: FeedAddress,
    key_file: Option<KeyFile>,
    format: OutputFormat,
    printer: &'a Printer,
    /// The latest position that the follower has received.
    position: Option<String>,
    recent_ids: RecentIds,
}

impl<'a> Follower<'a> {
    pub(super) fn new(
        address: FeedAddress,
        key_file: Option<KeyFile>,
        format: OutputFormat,
        printer: &'a Printer,
    ) -> Self {
        let recent_ids = RecentIds::default();
        Self { address, key_file, format, printer, position: None, recent_ids }
    }

    /// Follows the feed until a disconnect that a retry cannot fix. Returns the reason for the
    /// disconnect.
    pub(super) async fn follow(&mut self) -> anyhow::Error {
        let mut backoff = ReconnectBackoff::default();
        loop {
            let started = Instant::now();
            let disconnect = self.follow_once().await;
            let Some(delay) = backoff.next_delay(&disconnect, started.elapsed()) else {
                let advice = self.advise(&disconnect);
                return anyhow::anyhow!("{}: {disconnect}{advice}", self.address);
            };
            print_err(&format!("{disconnect}; reconnecting in {:.1} s", delay.as_secs_f64()));
            sleep(delay).await;
        }
    }

    /// Returns a clause that says how to fix rejected credentials, or an empty string.
    fn advise(&self, disconnect: &Disconnect) -> &'static str {
        match &self.key_file {
            _ if !disconnect.is_unauthorized() => "",
            Some(_) => "; the key file must contain a valid API key or token",
            None => "; use --key-file to send an API key or a token",
        }
    }

    async fn follow_once(&mut self) -> Disconnect {
        let url = self.address.connection_url(self.position.as_deref());
        let credentials = self.key_file.as_mut().map(KeyFile::refresh);
        let mut connection = match Connection::open(&url, credentials).await {
            Ok(connection) => connection,
            Err(disconnect) => return disconnect,
        };
        let mut is_greeted = false;
        loop {
            let text = match connection.next_frame().await {
                Ok(text) => text,
                Err(disconnect) => return disconnect,
            };
            let Some(frame) = Frame::parse(&text) else { continue };
            // An error before `hello` is followed by a disconnect with the same reason.
            if let Some(error) = frame.error().filter(|_| is_greeted) {
                print_err(&format!("the server rejected a part of the subscription: {error}"));
            }
            match &*frame.kind {
                "hello" if is_greeted => report_resumption(&frame),
                "hello" => {
                    is_greeted = true;
                    if let Some(interval) = frame.ping_interval() {
                        connection.set_ping_interval(interval);
                    }
                    print_err(&format!("connected to {}", self.address));
                    report_resumption(&frame);
                }
                "message" => self.print_message(&frame, &text).await,
                "expired" => self.print_frame(&text).await,
                "gap" => {
                    print_err(&format!(
                        "missed {} frames: this client reads too slowly",
                        frame.dropped.unwrap_or(0)
                    ));
                    self.print_frame(&text).await;
                }
                _ => {}
            }
            if let Some(position) = frame.position {
                self.position = Some(position.into_owned());
            }
        }
    }

    /// Prints a message unless it was printed recently.
    async fn print_message(&mut self, frame: &Frame<'_>, text: &str) {
        let Some(message) =
            frame.message.and_then(|json| MessageView::from_json(json.get().as_bytes()).ok())
        else {
            return;
        };
        if !self.recent_ids.insert(message.id) {
            return;
        }
        match self.format {
            OutputFormat::Text => self.printer.print(format_message(&message)).await,
            _ => self.print_frame(text).await,
        }
    }

    /// Prints a frame if the output is JSON.
    async fn print_frame(&self, text: &str) {
        match self.format {
            OutputFormat::Text => {}
            OutputFormat::Json => self.printer.print(text.to_owned()).await,
            OutputFormat::EscapedJson => self.printer.print(escape_json(text)).await,
        }
    }
}

/// If resumption was requested, reports whether the feed was resumed or messages may have been
/// missed.
fn report_resumption(hello: &Frame<'_>) {
    match (hello.resumed, hello.reason.as_deref()) {
        (Some(true), _) => print_err("resumed"),
        (Some(false), reason) => print_err(&format!(
            "cannot resume; messages may have been missed: {}",
            explain(reason.unwrap_or("no reason given"))
        )),
        (None, _) => {}
    }
}

fn explain(reason: &str) -> String {
    match reason {
        "window" => "window (the position is older than the resume window)".to_owned(),
        "data_lost" => "data_lost (Redis lost the messages)".to_owned(),
        "unknown_position" => "unknown_position (the position is malformed)".to_owned(),
        other => escape(other),
    }
}
