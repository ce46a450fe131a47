//! Alternating rounds against Mayfly and the baseline, so that other load on the machine affects
//! both.

use std::time::Duration;

use mayfly_stack::Service;

use super::clients::{Load, RoundResult};
use crate::{
    effort::Effort,
    report::{Comparison, median, percentile, rate, ratios},
    system::System,
};

/// The length of the first round, which warms caches, pools and branch predictors and is not
/// counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// The results of all rounds against one server.
#[derive(Debug, Default)]
struct Series {
    rates: Vec<f64>,
    /// Operations per CPU second of the service.
    cpu_rates: Vec<f64>,
    failures: u64,
    latencies_us: Vec<u32>,
}

impl Series {
    fn add(&mut self, mut result: RoundResult, cpu: Option<Duration>) {
        self.rates.push(rate(result.answered, result.elapsed));
        self.cpu_rates.extend(cpu.map(|cpu| rate(result.answered, cpu)));
        self.failures += result.failures;
        self.latencies_us.append(&mut result.latencies_us);
    }

    fn latency(&mut self) -> (Duration, Duration) {
        self.latencies_us.sort_unstable();
        (percentile(&self.latencies_us, 50), percentile(&self.latencies_us, 99))
    }
}

/// The work after each round against Mayfly, so that the next round has the machine to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRound {
    /// The round wrote nothing.
    Nothing,
    /// Wait until the accepted messages are stored.
    WaitUntilStored,
    /// Count the accepted messages; no worker is running.
    CountAccepted,
}

/// One of the two servers in a comparison.
pub struct Contender<'a> {
    load: &'a mut Load,
    /// The system and service of the server; `None` for a baseline.
    server: Option<(&'a mut System, Service)>,
    after: AfterRound,
    series: Series,
}

impl<'a> Contender<'a> {
    /// Creates a contender that is a service of Mayfly.
    pub fn mayfly(
        system: &'a mut System,
        service: Service,
        load: &'a mut Load,
        after: AfterRound,
    ) -> Self {
        Self { load, server: Some((system, service)), after, series: Series::default() }
    }

    /// Creates a contender that is a baseline.
    pub fn baseline(load: &'a mut Load) -> Self {
        Self { load, server: None, after: AfterRound::Nothing, series: Series::default() }
    }

    async fn run(&mut self, duration: Duration, is_counted: bool) -> anyhow::Result<()> {
        let cpu_before = self.cpu_time().await?;
        let result = self.load.run(duration).await?;
        let cpu_after = self.cpu_time().await?;
        if let Some((system, _)) = &mut self.server
            && self.after != AfterRound::Nothing
        {
            system.accepted += result.answered;
            if self.after == AfterRound::WaitUntilStored {
                system.wait_until_stored().await?;
            }
        }
        if is_counted {
            let cpu = cpu_after.zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
            self.series.add(result, cpu);
        }
        Ok(())
    }

    async fn cpu_time(&self) -> anyhow::Result<Option<Duration>> {
        match &self.server {
            Some((system, service)) => system.cpu_time(*service).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Measures both servers in alternating rounds. The server that begins alternates too.
pub async fn alternate(
    effort: &Effort,
    mut mayfly: Contender<'_>,
    mut baseline: Contender<'_>,
) -> anyhow::Result<Comparison> {
    for round in 0..=effort.rounds {
        let duration = if round == 0 { WARM_UP } else { effort.round };
        let mut pair = [&mut mayfly, &mut baseline];
        if round % 2 == 1 {
            pair.reverse();
        }
        for contender in pair {
            contender.run(duration, round > 0).await?;
        }
    }
    let [series, baseline_series] = [&mut mayfly.series, &mut baseline.series];
    Ok(Comparison {
        ratios: ratios(&series.rates, &baseline_series.rates),
        cpu_ratios: ratios(&series.cpu_rates, &baseline_series.cpu_rates),
        mayfly: median(series.rates.iter().copied()),
        baseline: median(baseline_series.rates.iter().copied()),
        latency: Some(series.latency()),
        baseline_latency: Some(baseline_series.latency()),
        failures: series.failures + baseline_series.failures,
    })
}
