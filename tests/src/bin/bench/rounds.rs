//! Rounds that alternate: ours, bare, ours, bare. Whatever else the machine does meanwhile, it does
//! to both.

use std::time::Duration;

use crate::{
    effort::Effort,
    load::{Load, Tally},
    report::Measured,
    statistics::{median, percentile, rate},
    system::System,
};

/// Rounds before those that count: caches, pools and branch predictors get their fill.
const WARM_UP: Duration = Duration::from_millis(500);

/// What came out of the rounds against one server.
#[derive(Debug, Default)]
struct Series {
    rates: Vec<f64>,
    failures: u64,
    latencies_us: Vec<u32>,
}

impl Series {
    fn add(&mut self, mut tally: Tally) {
        self.rates.push(rate(tally.answered, tally.elapsed));
        self.failures += tally.failures;
        self.latencies_us.append(&mut tally.latencies_us);
    }

    fn latency(&mut self) -> (Duration, Duration) {
        self.latencies_us.sort_unstable();
        (percentile(&self.latencies_us, 50), percentile(&self.latencies_us, 99))
    }
}

/// What follows each of our rounds, so that the bare one has the machine to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Nothing is left to do.
    Nothing,
    /// What was accepted waits until it is stored.
    Settle,
    /// What was accepted is counted; nobody stores it now.
    Count,
}

/// Measures both in turns.
pub async fn alternate(
    system: &mut System,
    effort: &Effort,
    ours: &mut Load,
    bare: &mut Load,
    after: After,
) -> anyhow::Result<Measured> {
    let (mut series, mut bare_series) = (Series::default(), Series::default());
    for round in 0..=effort.rounds {
        let duration = if round == 0 { WARM_UP } else { effort.round };
        let tally = ours.run(duration).await?;
        if after != After::Nothing {
            system.accepted += tally.answered;
        }
        if after == After::Settle {
            system.settle().await?;
        }
        let bare_tally = bare.run(duration).await?;
        if round > 0 {
            series.add(tally);
            bare_series.add(bare_tally);
        }
    }
    let ratios = series.rates.iter().zip(&bare_series.rates).map(|(ours, bare)| ours / bare);
    Ok(Measured {
        ratios: ratios.collect(),
        ours: median(series.rates.iter().copied()),
        other: median(bare_series.rates.iter().copied()),
        latency: Some(series.latency()),
        other_latency: Some(bare_series.latency()),
        failures: series.failures + bare_series.failures,
    })
}
