//! `mayfly simulate walk`: pages through all stored messages and checks every page.

mod sequence_check;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use mayfly_cold::ColdStore;
use mayfly_core::{MessageId, Order};
use mayfly_live_client::terminal::{print, print_err};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::INTERRUPTED;
use crate::http_client::HttpClient;
use crate::options::WalkOptions;
use crate::progress::Progress;
use crate::request_times::{RequestTimes, format_duration, rate};
use sequence_check::SequenceCheck;

/// The number of pages in a block. The report contains the first, median, last and slowest time for
/// a block.
const BLOCK_PAGES: usize = 100;

/// The fields of a page that the walk reads.
#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    next_cursor: Option<String>,
    has_more: bool,
}

#[derive(Deserialize)]
struct Item {
    id: MessageId,
}

/// A walk through all stored messages.
pub struct Walk<'a> {
    client: HttpClient,
    cold: &'a ColdStore,
    limit: u64,
    path: String,
    progress: Progress,
    page_times: RequestTimes,
    messages: u64,
    check: SequenceCheck,
}

impl<'a> Walk<'a> {
    /// Prepares a walk through the pages of list-api at `urls`. `cold` provides the sequence
    /// numbers for the checks.
    pub fn new(options: &WalkOptions, urls: Vec<String>, cold: &'a ColdStore) -> Result<Self> {
        let order = if options.order == Order::Asc { "asc" } else { "desc" };
        let progress_step = options.limit * BLOCK_PAGES as u64;
        Ok(Self {
            client: HttpClient::new(urls, options.key_file.as_ref(), CancellationToken::new())?,
            cold,
            limit: options.limit,
            path: format!("/v1/messages?limit={}&order={order}", options.limit),
            progress: Progress::new("messages read", None, progress_step),
            page_times: RequestTimes::default(),
            messages: 0,
            check: SequenceCheck::new(options.order),
        })
    }

    /// Reads all pages. Prints a report at the end, even if an error occurs or `interrupt` is
    /// canceled. `count_queued` counts the messages that have not been stored yet.
    pub async fn run(
        mut self,
        count_queued: impl Future<Output = Result<u64>>,
        interrupt: CancellationToken,
    ) -> Result<ExitCode> {
        let started = Instant::now();
        // A walk only reads, so it can be interrupted at any time.
        let result = tokio::select! {
            result = self.read_all_pages(count_queued) => Some(result),
            () = interrupt.cancelled() => None,
        };
        self.progress.finish();
        self.print_report(started);
        Ok(match result {
            Some(Ok(())) if self.check.is_passed() => ExitCode::SUCCESS,
            Some(Ok(())) => ExitCode::FAILURE,
            Some(Err(error)) => return Err(error),
            None => ExitCode::from(INTERRUPTED),
        })
    }

    async fn read_all_pages(
        &mut self,
        count_queued: impl Future<Output = Result<u64>>,
    ) -> Result<()> {
        print_queued(count_queued.await);
        self.check.begin(self.cold).await?;
        let mut cursor = String::new();
        loop {
            let response = self.client.send(&format!("{}{cursor}", self.path), None).await;
            let response =
                response.map_err(|error| anyhow!("page {}: {error}", self.page_times.len() + 1))?;
            self.page_times.add(response.duration);
            let page: Page = serde_json::from_slice(&response.body).context("malformed page")?;
            let ids: Vec<MessageId> = page.items.iter().map(|item| item.id).collect();
            self.messages += ids.len() as u64;
            self.check.check_page(self.cold, &ids).await?;
            self.progress.add(ids.len() as u64);
            let Some(next) = page.next_cursor.filter(|_| page.has_more) else {
                return self.check.check_end(self.cold).await;
            };
            cursor = format!("&cursor={next}");
        }
    }

    fn print_report(&self, started: Instant) {
        let times = &self.page_times;
        print(&format!(
            "{} messages read from {} pages of up to {} in {}: {:.0}/s; {} including the checks",
            self.messages,
            times.len(),
            self.limit,
            format_duration(times.sum()),
            rate(self.messages, times.sum()),
            format_duration(started.elapsed())
        ));
        let blocks = times.sum_blocks(BLOCK_PAGES);
        if blocks.len() > 0 {
            print(&format!("{BLOCK_PAGES} pages took: {}", describe_times(&blocks)));
        }
        print(&format!("a page took: {}", describe_times(times)));
        print(&self.check.describe());
    }
}

fn describe_times(times: &RequestTimes) -> String {
    format!(
        "first {}, median {}, last {}, slowest {}",
        format_duration(times.first()),
        format_duration(times.median()),
        format_duration(times.last()),
        format_duration(times.slowest())
    )
}

/// Prints how many messages the walk may miss because they have not been stored yet.
fn print_queued(queued: Result<u64>) {
    match queued {
        Ok(0) => {}
        Ok(queued) => print(&format!(
            "{queued} messages are still queued; the walk includes those that are stored in time"
        )),
        // The walk itself does not need Redis.
        Err(error) => print_err(&format!("cannot count queued messages: {error:#}")),
    }
}
