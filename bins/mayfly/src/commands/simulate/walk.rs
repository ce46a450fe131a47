//! `mayfly simulate walk`: pages through everything that is stored, and looks at every page.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use mayfly_cold::Cold;
use mayfly_core::{MessageId, Order};
use mayfly_hot::Hot;
use mayfly_stack::Service;
use serde::Deserialize;

use super::INTERRUPTED;
use super::api::Api;
use super::pace::{Pace, rate, show};
use super::places::Places;
use super::progress::Progress;
use crate::command_line::SimulateWalk;
use crate::commands::audit::count_queued;
use crate::output::{remark, say};
use crate::settings::{find_urls, load_settings};
use crate::signals::Signals;

/// Pages whose times are summed up.
const BLOCK: usize = 100;

/// What is read of a page.
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

/// A walk under way.
struct Walk {
    api: Api,
    hot: Hot,
    cold: Cold,
    path: String,
    progress: Progress,
    pages: Pace,
    met: u64,
    places: Places,
}

pub(super) async fn walk(options: SimulateWalk) -> Result<ExitCode> {
    let settings = load_settings()?;
    let urls = if options.url.is_empty() { find_urls(Service::ListApi)? } else { options.url };
    let mut signals = Signals::catch()?;
    let order = if options.order == Order::Asc { "asc" } else { "desc" };
    let mut walk = Walk {
        api: Api::new(urls)?,
        hot: Hot::new(&settings.redis)?,
        cold: Cold::new(&settings.postgres),
        path: format!("/v1/messages?limit={}&order={order}", options.limit),
        progress: Progress::new("messages met", None, options.limit * BLOCK as u64),
        pages: Pace::default(),
        met: 0,
        places: Places::new(options.order),
    };
    let began = Instant::now();
    // Nothing is written: a signal may come in the middle of a page.
    let outcome = tokio::select! {
        outcome = walk.go() => Some(outcome),
        () = signals.wait() => None,
    };
    walk.progress.end();
    walk.report(options.limit, began);
    Ok(match outcome {
        Some(Ok(())) if walk.places.are_right() => ExitCode::SUCCESS,
        Some(Ok(())) => ExitCode::FAILURE,
        Some(Err(error)) => return Err(error),
        None => ExitCode::from(INTERRUPTED),
    })
}

impl Walk {
    async fn go(&mut self) -> Result<()> {
        self.say_queued().await;
        self.places.begin(&self.cold).await?;
        let mut cursor = String::new();
        loop {
            let answer = self.api.ask(&format!("{}{cursor}", self.path), None).await;
            let answer =
                answer.map_err(|failure| anyhow!("page {}: {failure}", self.pages.len() + 1))?;
            self.pages.add(answer.took);
            let page: Page =
                serde_json::from_slice(&answer.body).context("a page is not readable")?;
            let ids: Vec<MessageId> = page.items.iter().map(|item| item.id).collect();
            self.met += ids.len() as u64;
            self.places.check(&self.cold, &ids).await?;
            self.progress.add(ids.len() as u64);
            let Some(next) = page.next_cursor.filter(|_| page.has_more) else {
                return self.places.check_end(&self.cold).await;
            };
            cursor = format!("&cursor={next}");
        }
    }

    /// Says how many messages the walk may not meet because they are not stored yet.
    async fn say_queued(&self) {
        match count_queued(&self.hot, &self.cold).await {
            Ok(0) => {}
            Ok(queued) => say(&format!(
                "{queued} messages are still queued: the walk meets those that are stored in time"
            )),
            // The walk itself needs no Redis.
            Err(error) => remark(&format!("whether messages are queued is not known: {error:#}")),
        }
    }

    fn report(&self, limit: u64, began: Instant) {
        let times = &self.pages;
        say(&format!(
            "{} messages met on {} pages of up to {limit} in {}: {:.0}/s; {} with the checks",
            self.met,
            times.len(),
            show(times.sum()),
            rate(self.met, times.sum()),
            show(began.elapsed())
        ));
        let blocks = times.sums_of(BLOCK);
        if blocks.len() > 0 {
            say(&format!(
                "{BLOCK} pages took: first {}, median {}, last {}, slowest {}",
                show(blocks.first()),
                show(blocks.median()),
                show(blocks.last()),
                show(blocks.slowest())
            ));
        }
        say(&format!(
            "a page took: first {}, median {}, last {}, slowest {}",
            show(times.first()),
            show(times.median()),
            show(times.last()),
            show(times.slowest())
        ));
        say(&self.places.describe());
    }
}
