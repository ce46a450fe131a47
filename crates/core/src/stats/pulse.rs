//! The pulse: the health of the whole system, published once per second.

use serde::{Deserialize, Serialize};

use super::Consumption;
use crate::clock::Timestamp;

/// The health of the whole system.
// Fields are serialized in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pulse {
    /// The time when the pulse was measured.
    pub generated_at: Timestamp,
    /// The state of the queue.
    pub queue: QueuePulse,
    /// Throughput over the last five seconds.
    pub rates: Rates,
    /// Consumption times over the last minute.
    pub consumption_ms: ConsumptionMs,
    /// The number of open connections across all ws-fanout instances.
    pub connections: u64,
}

/// The state of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueuePulse {
    /// Messages and plays that have been accepted but not yet stored or counted.
    pub depth: u64,
    /// The age of the oldest message or play in the queue, in milliseconds.
    pub oldest_age_ms: u64,
    /// Entries that could not be processed.
    pub dead_letters: u64,
}

/// Throughput, in items per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rates {
    /// Accepted messages and plays.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub accepted: f64,
    /// Stored messages and counted plays.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub stored: f64,
    /// Frames enqueued for connections.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub delivered: f64,
}

/// The time from the acceptance of an item until it is stored or counted, in milliseconds. All
/// values are null if there were no items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConsumptionMs {
    /// The consumption time of the most recently consumed item.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub latest: Option<u64>,
    /// The average consumption time.
    #[cfg_attr(feature = "openapi", schema(required, minimum = 0))]
    pub average: Option<f64>,
    /// The median consumption time.
    #[cfg_attr(feature = "openapi", schema(required, minimum = 0))]
    pub p50: Option<f64>,
    /// The 99th percentile of the consumption times.
    #[cfg_attr(feature = "openapi", schema(required, minimum = 0))]
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
    fn pulse_json_is_stable() {
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
