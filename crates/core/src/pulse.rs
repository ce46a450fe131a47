//! The pulse: how the whole is doing at this moment, once a second.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, consumption::Consumption};

/// How the whole is doing. Its fields are in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pulse {
    /// When it was taken.
    pub generated_at: Timestamp,
    /// What waits.
    pub queue: QueuePulse,
    /// Items a second, over the last seconds.
    pub rates: Rates,
    /// How long items waited until they were stored or counted, over the last minute.
    pub consumption_ms: ConsumptionMs,
    /// Connections to all ws-fanout.
    pub connections: u64,
}

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePulse {
    /// Messages and plays that are accepted and not yet stored or counted.
    pub depth: u64,
    /// How long the oldest of them waits, in milliseconds.
    pub oldest_age_ms: u64,
    /// Entries that nobody could store.
    pub dead_letters: u64,
}

/// Items a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Messages and plays that were accepted.
    pub accepted: f64,
    /// Messages and plays that were stored or counted.
    pub stored: f64,
    /// Frames that were handed to connections.
    pub delivered: f64,
}

/// Milliseconds; none where nothing was stored or counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ConsumptionMs {
    /// Of the last batch.
    pub latest: Option<u64>,
    /// The average.
    pub average: Option<f64>,
    /// What half of all did not exceed.
    pub p50: Option<f64>,
    /// What all but a hundredth did not exceed.
    pub p99: Option<f64>,
}

impl From<&Consumption> for ConsumptionMs {
    fn from(all: &Consumption) -> Self {
        Self {
            latest: all.latest_ms(),
            average: all.average_ms(),
            p50: all.quantile_ms(0.5),
            p99: all.quantile_ms(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_is_what_clients_rely_on() {
        let mut consumption = Consumption::default();
        let pulse = |consumption: &Consumption| Pulse {
            generated_at: Timestamp::from_millis(1_795_201_620_123),
            queue: QueuePulse { depth: 7, oldest_age_ms: 12, dead_letters: 1 },
            rates: Rates { accepted: 10.5, stored: 10.0, delivered: 0.0 },
            consumption_ms: consumption.into(),
            connections: 3,
        };
        let show = |pulse: &Pulse| serde_json::to_string(pulse).expect("it is JSON");
        insta::assert_snapshot!(show(&pulse(&consumption)), @r#"{"generated_at":"2026-11-20T19:07:00.123Z","queue":{"depth":7,"oldest_age_ms":12,"dead_letters":1},"rates":{"accepted":10.5,"stored":10.0,"delivered":0.0},"consumption_ms":{"latest":null,"average":null,"p50":null,"p99":null},"connections":3}"#);
        consumption.add(Timestamp::from_millis(0), 9, 2);
        insta::assert_snapshot!(show(&pulse(&consumption)), @r#"{"generated_at":"2026-11-20T19:07:00.123Z","queue":{"depth":7,"oldest_age_ms":12,"dead_letters":1},"rates":{"accepted":10.5,"stored":10.0,"delivered":0.0},"consumption_ms":{"latest":9,"average":9.0,"p50":9.0,"p99":9.0},"connections":3}"#);
    }
}
