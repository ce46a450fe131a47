//! Alternating rounds against Mayfly and the baseline, so that other load on the machine affects
//! both.

use std::time::Duration;

use super::clients::{Load, RoundResult};
use crate::{
    effort::Effort,
    report::{Comparison, median, percentile, rate},
    system::System,
};

/// The length of the first round, which warms caches, pools and branch predictors and is not
/// counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// The results of all rounds against one server.
#[derive(Debug, Default)]
struct Series {
    rates: Vec<f64>,
    failures: u64,
    latencies_us: Vec<u32>,
}

impl Series {
    fn add(&mut self, mut result: RoundResult) {
        self.rates.push(rate(result.answered, result.elapsed));
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
    /// The system of the server; `None` for a baseline.
    system: Option<&'a mut System>,
    after: AfterRound,
    series: Series,
}

impl<'a> Contender<'a> {
    /// Creates a contender that is a service of Mayfly.
    pub fn mayfly(system: &'a mut System, load: &'a mut Load, after: AfterRound) -> Self {
        Self { load, system: Some(system), after, series: Series::default() }
    }

    /// Creates a contender that is a baseline.
    pub fn baseline(load: &'a mut Load) -> Self {
        Self { load, system: None, after: AfterRound::Nothing, series: Series::default() }
    }

    async fn run(&mut self, duration: Duration, is_counted: bool) -> anyhow::Result<()> {
        let result = self.load.run(duration).await?;
        if let Some(system) = &mut self.system
            && self.after != AfterRound::Nothing
        {
            system.accepted += result.answered;
            if self.after == AfterRound::WaitUntilStored {
                system.wait_until_stored().await?;
            }
        }
        if is_counted {
            self.series.add(result);
        }
        Ok(())
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
    let ratios =
        series.rates.iter().zip(&baseline_series.rates).map(|(mayfly, baseline)| mayfly / baseline);
    Ok(Comparison {
        ratios: ratios.collect(),
        mayfly: median(series.rates.iter().copied()),
        baseline: median(baseline_series.rates.iter().copied()),
        latency: Some(series.latency()),
        baseline_latency: Some(baseline_series.latency()),
        failures: series.failures + baseline_series.failures,
    })
}
