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

/// The work after each round against Mayfly, so that the baseline has the machine to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRound {
    /// The round wrote nothing.
    Nothing,
    /// Wait until the accepted messages are stored.
    WaitUntilStored,
    /// Count the accepted messages; no worker is running.
    CountAccepted,
}

/// Measures both servers in alternating rounds.
pub async fn alternate(
    system: &mut System,
    effort: &Effort,
    mayfly: &mut Load,
    baseline: &mut Load,
    after: AfterRound,
) -> anyhow::Result<Comparison> {
    let (mut series, mut baseline_series) = (Series::default(), Series::default());
    for round in 0..=effort.rounds {
        let duration = if round == 0 { WARM_UP } else { effort.round };
        let result = mayfly.run(duration).await?;
        if after != AfterRound::Nothing {
            system.accepted += result.answered;
        }
        if after == AfterRound::WaitUntilStored {
            system.wait_until_stored().await?;
        }
        let baseline_result = baseline.run(duration).await?;
        if round > 0 {
            series.add(result);
            baseline_series.add(baseline_result);
        }
    }
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
