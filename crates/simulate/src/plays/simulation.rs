//! Runs the simulation, from the first play until all counts have been published.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use indicatif::MultiProgress;
use mayfly_cold::ColdStore;
use mayfly_core::Consumption;
use mayfly_hot::{HotStore, Stream};
use mayfly_live_client::terminal::{print, print_err};
use mayfly_stack::Service;
use tokio::time::sleep;
use uuid::Uuid;

use super::distribution::Distribution;
use super::outcome::{Outcome, Times};
use super::producers::{PlayBatches, send_plays};
use super::report::{Counts, Mode};
use super::stored_counts::{find_counts, wait_until_counted};
use super::subscriber::Subscriber;
use super::{VIDEO_ID_PREFIX, describe_queued};
use crate::options::PlaysOptions;
use crate::progress::Progress;
use crate::stack::local_stack::LocalStack;

/// The time to wait for publications after the interval has elapsed.
const PUBLISH_MARGIN: Duration = Duration::from_secs(10);
/// The time limit for workers to record the consumption times of the last plays. The consumption
/// time of a play is the time from its acceptance until it is counted.
const CONSUMPTION_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit for workers to acknowledge the last entries.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The parameters of a simulation.
pub(super) struct Simulation<'a> {
    pub(super) stack: &'a LocalStack,
    pub(super) options: &'a PlaysOptions,
    pub(super) distribution: &'a Distribution,
}

/// A running simulation.
struct RunningSimulation<'a> {
    simulation: &'a Simulation<'a>,
    hot: HotStore,
    cold: ColdStore,
    videos: Vec<String>,
    ingest_urls: Vec<String>,
    queued: Progress,
    counted: Progress,
}

impl Simulation<'_> {
    /// Changes the stack and runs the simulation. Does not restore the stack.
    pub(super) async fn run(&self) -> Result<Outcome> {
        self.stack.change(usize::try_from(self.options.consumers)?, self.options.interval).await?;
        let (settings, env) = (self.stack.settings()?, self.stack.env()?);
        let hot = HotStore::new(&settings.redis)?;
        let videos: Vec<_> = (0..self.options.videos)
            .map(|_| format!("{VIDEO_ID_PREFIX}{}", Uuid::now_v7()))
            .collect();
        if !self.options.live {
            self.stack.stop_workers().await?;
        }
        let live_url = env.urls(Service::WsFanout).into_iter().next();
        let live_url = live_url.context("ws-fanout is not running")?;
        let key_file = self.options.key_file.clone();
        let subscriber = Subscriber::start(&live_url, key_file, &videos).await?;
        let before = find_consumption(&hot).await?;
        let bars = MultiProgress::new();
        let plays = self.options.messages;
        let bar = |items| Progress::new(items, Some(plays), plays.div_ceil(10)).attach_to(&bars);
        let mut running = RunningSimulation {
            simulation: self,
            hot,
            cold: ColdStore::new(&settings.postgres),
            videos,
            ingest_urls: env.urls(Service::IngestApi),
            queued: bar("plays queued"),
            counted: bar("plays counted"),
        };
        let times = running.send_and_count().await;
        running.queued.finish();
        running.counted.finish();
        running.wait_for_outcome(times?, &before, &subscriber).await
    }
}

impl RunningSimulation<'_> {
    /// Sends all plays and waits until all have been counted.
    async fn send_and_count(&mut self) -> Result<Times> {
        let Self { simulation, cold, videos, ingest_urls, queued, counted, .. } = self;
        let options = simulation.options;
        let producers = options.consumers * options.producers_per_consumer;
        let batches = PlayBatches::new(videos.clone(), simulation.distribution.shuffled_plays());
        let started = Instant::now();
        let queueing = async {
            send_plays(batches, producers, ingest_urls, options.key_file.as_ref(), queued).await?;
            Ok::<_, anyhow::Error>(started.elapsed())
        };
        if options.live {
            let counting = wait_until_counted(cold, videos, options.messages, counted);
            let (queueing, ()) = tokio::try_join!(queueing, counting)?;
            return Ok(Times { queueing, counting: started.elapsed() });
        }
        let queueing = queueing.await?;
        queued.finish();
        let started = Instant::now();
        let counting = wait_until_counted(cold, videos, options.messages, counted);
        let counting = async {
            counting.await?;
            Ok(started.elapsed())
        };
        let ((), counting) = tokio::try_join!(simulation.stack.start_workers(), counting)?;
        Ok(Times { queueing, counting })
    }

    /// Waits until all counts have been published or the timeout has elapsed. Then waits for the
    /// workers to record and acknowledge the plays, and returns the outcome.
    async fn wait_for_outcome(
        &self,
        times: Times,
        before: &Consumption,
        subscriber: &Subscriber,
    ) -> Result<Outcome> {
        let options = self.simulation.options;
        print(&format!("all consumed: {} plays", options.messages));
        let timeout = Duration::from_secs(options.interval) + PUBLISH_MARGIN;
        print_err(&format!("waiting until all counts are published (up to {timeout:?})"));
        let counts = self.simulation.distribution.counts().iter().copied();
        let produced: Counts = self.videos.iter().cloned().zip(counts).collect();
        let started = Instant::now();
        let is_published = || {
            let published = subscriber.published();
            produced.iter().all(|(video, count)| published.count(video) == *count)
        };
        while !is_published() && started.elapsed() < timeout {
            sleep(POLL_INTERVAL).await;
        }
        let consumption = self.wait_for_consumption(before).await?;
        self.wait_until_acknowledged().await?;
        let counted = find_counts(&self.cold, &self.videos).await?;
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
            violations: published.violations,
            descriptions: published.descriptions.clone(),
            interruptions: published.interruptions.clone(),
        })
    }

    /// Waits until all plays are acknowledged or [`ACK_TIMEOUT`] has elapsed, so that the
    /// simulation detects plays that are counted twice after a redelivery.
    async fn wait_until_acknowledged(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let queued = self.hot.plays().count_waiting().await.context("cannot read Redis")?;
            if queued == 0 {
                return Ok(());
            }
            if started.elapsed() > ACK_TIMEOUT {
                print_err(&format!(
                    "{} after {ACK_TIMEOUT:?}; a play that is counted again later will not be detected",
                    describe_queued(queued)
                ));
                return Ok(());
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the consumption times that workers have recorded since `before`. Workers record them
    /// after they have counted the plays, so this function waits for up to [`CONSUMPTION_TIMEOUT`].
    async fn wait_for_consumption(&self, before: &Consumption) -> Result<Consumption> {
        let started = Instant::now();
        loop {
            let consumption = find_consumption(&self.hot).await?.since(before);
            let is_complete = consumption.items() >= self.simulation.options.messages;
            if is_complete || started.elapsed() > CONSUMPTION_TIMEOUT {
                return Ok(consumption);
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

async fn find_consumption(hot: &HotStore) -> Result<Consumption> {
    hot.queue().find_consumption(Stream::Plays).await.context("cannot read Redis")
}
