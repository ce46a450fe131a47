//! The simulation itself: from the first play until its count was published.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use indicatif::MultiProgress;
use mayfly_cold::Cold;
use mayfly_core::Consumption;
use mayfly_hot::{Hot, Stream};
use mayfly_stack::Service;
use tokio::time::sleep;
use uuid::Uuid;

use super::counted::{find_counted, wait_until_counted};
use super::distribution::Distribution;
use super::outcome::{Outcome, Times};
use super::producers::{Plays, send};
use super::report::{Counts, Mode};
use super::subscriber::Subscriber;
use crate::command_line::SimulatePlays;
use crate::commands::simulate::local_stack::LocalStack;
use crate::commands::simulate::progress::Progress;
use crate::commands::simulate::{VIDEO_BEGINNING, describe_queued};
use crate::output::{remark, say};

/// How much later than at the next tick a count may be published.
const PUBLISHED_MARGIN: Duration = Duration::from_secs(10);
/// How long workers may take to say how long the last plays waited.
const NOTED_WITHIN: Duration = Duration::from_secs(5);
/// How long workers may take until they are done with the last entries.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is simulated, and on what.
pub(super) struct Run<'a> {
    pub(super) stack: &'a LocalStack,
    pub(super) options: &'a SimulatePlays,
    pub(super) distribution: &'a Distribution,
}

/// A run under way.
struct UnderWay<'a> {
    run: &'a Run<'a>,
    hot: Hot,
    cold: Cold,
    videos: Vec<String>,
    ingest_urls: Vec<String>,
    queued: Progress,
    counted: Progress,
}

impl Run<'_> {
    /// Changes the stack and runs; the stack is left as it is then.
    pub(super) async fn go(&self) -> Result<Outcome> {
        self.stack.change(usize::try_from(self.options.consumers)?, self.options.interval).await?;
        let (settings, env) = (self.stack.settings()?, self.stack.env()?);
        let hot = Hot::new(&settings.redis)?;
        let videos: Vec<_> = (0..self.options.videos)
            .map(|_| format!("{VIDEO_BEGINNING}{}", Uuid::now_v7()))
            .collect();
        if !self.options.live {
            self.stack.stop_workers().await?;
        }
        let live_url =
            env.urls(Service::WsFanout).into_iter().next().context("ws-fanout is gone")?;
        let subscriber = Subscriber::start(&live_url, &videos).await?;
        let before = find_consumption(&hot).await?;
        let bars = MultiProgress::new();
        let plays = self.options.messages;
        let bar = |what| Progress::new(what, Some(plays), plays.div_ceil(10)).among(&bars);
        let mut under_way = UnderWay {
            run: self,
            hot,
            cold: Cold::new(&settings.postgres),
            videos,
            ingest_urls: env.urls(Service::IngestApi),
            queued: bar("plays queued"),
            counted: bar("plays counted"),
        };
        let times = under_way.count().await;
        under_way.queued.end();
        under_way.counted.end();
        under_way.finish(times?, &before, &subscriber).await
    }
}

impl UnderWay<'_> {
    /// Sends all plays and waits until they are counted.
    async fn count(&mut self) -> Result<Times> {
        let Self { run, cold, videos, ingest_urls, queued, counted, .. } = self;
        let options = run.options;
        let producers = options.consumers * options.producers_per_consumer;
        let plays = Plays::new(videos.clone(), run.distribution.shuffle());
        let began = Instant::now();
        let sending = async {
            send(plays, producers, ingest_urls, queued).await?;
            Ok::<_, anyhow::Error>(began.elapsed())
        };
        if options.live {
            let counting = wait_until_counted(cold, videos, options.messages, counted);
            let (queueing, ()) = tokio::try_join!(sending, counting)?;
            return Ok(Times { queueing, counting: began.elapsed() });
        }
        let queueing = sending.await?;
        queued.end();
        let began = Instant::now();
        let counting = wait_until_counted(cold, videos, options.messages, counted);
        let counting = async {
            counting.await?;
            Ok(began.elapsed())
        };
        let ((), counting) = tokio::try_join!(run.stack.start_workers(), counting)?;
        Ok(Times { queueing, counting })
    }

    /// Waits until the counts are published; gives what came of it all.
    async fn finish(
        &self,
        times: Times,
        before: &Consumption,
        subscriber: &Subscriber,
    ) -> Result<Outcome> {
        let options = self.run.options;
        say(&format!("all consumed: {} plays", options.messages));
        let within = Duration::from_secs(options.interval) + PUBLISHED_MARGIN;
        remark(&format!("waiting until all counts are published, {within:?} at most"));
        let counts = self.run.distribution.counts().iter().copied();
        let produced: Counts = self.videos.iter().cloned().zip(counts).collect();
        let began = Instant::now();
        let are_published = || {
            let published = subscriber.published();
            produced.iter().all(|(video, count)| published.count(video) == *count)
        };
        while !are_published() && began.elapsed() < within {
            sleep(LOOK_EVERY).await;
        }
        let consumption = self.find_consumed(before).await?;
        self.wait_until_settled().await?;
        let counted = find_counted(&self.cold, &self.videos).await?;
        let published = subscriber.published();
        Ok(Outcome {
            mode: if options.live { Mode::Live } else { Mode::BackedUp },
            times,
            consumption,
            published: produced
                .keys()
                .map(|video| (video.clone(), published.count(video)))
                .collect(),
            produced,
            counted,
            frames: published.frames,
            wrong: published.wrong,
            words: published.words.clone(),
            cuts: published.cuts.clone(),
        })
    }

    /// Waits until no play is queued any more: an entry that is delivered again might be counted again.
    async fn wait_until_settled(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let waiting = self.hot.count_waiting_plays().await.context("Redis cannot be asked")?;
            if waiting == 0 {
                return Ok(());
            }
            if began.elapsed() > SETTLED_WITHIN {
                remark(&format!(
                    "{} after {SETTLED_WITHIN:?}: whether a play of this run is counted again later is not seen",
                    describe_queued(waiting)
                ));
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// How long the plays of this run waited. Workers say so right after they counted.
    async fn find_consumed(&self, before: &Consumption) -> Result<Consumption> {
        let began = Instant::now();
        loop {
            let consumed = find_consumption(&self.hot).await?.since(before);
            if consumed.items() >= self.run.options.messages || began.elapsed() > NOTED_WITHIN {
                return Ok(consumed);
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

async fn find_consumption(hot: &Hot) -> Result<Consumption> {
    hot.find_consumption(Stream::Plays).await.context("Redis cannot be asked")
}
