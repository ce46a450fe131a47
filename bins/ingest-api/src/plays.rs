//! Ingestion of plays.

use std::time::Instant;

use mayfly_core::{Clock, Play, SystemClock, plays};
use mayfly_hot::{HotStore, PlayWriteRequest, PlayWriter};
use mayfly_http::Problem;
use mayfly_runtime::{Settings, settings::Rate};
use uuid::Uuid;

use crate::{client_identity::WriteContext, outcome::OutcomeMapper, write_response::WriteResponse};

/// Accepts plays. Each HTTP thread has its own instance.
pub struct PlayIngestion {
    writer: PlayWriter,
    clock: Box<dyn Clock>,
    /// The limit per client.
    rate: Option<Rate>,
    outcomes: OutcomeMapper,
}

impl PlayIngestion {
    /// Creates an instance that writes to `hot`.
    pub fn new(hot: &HotStore, settings: &Settings) -> Self {
        Self {
            writer: PlayWriter::start(hot, settings),
            clock: Box::new(SystemClock),
            rate: settings.limits.plays,
            outcomes: OutcomeMapper::new("plays"),
        }
    }

    /// Accepts plays atomically.
    pub async fn accept(
        &self,
        plays: &[Play],
        context: WriteContext,
    ) -> Result<WriteResponse, Problem> {
        let started = Instant::now();
        let count = plays.len();
        let enqueued_at = self.clock.now();
        let json = plays::Plays { id: Uuid::now_v7(), enqueued_at, plays }.to_json().into();
        let limit = context.limit(self.rate);
        let write = PlayWriteRequest {
            count,
            json,
            origin: context.origin,
            limit,
            idempotency: context.idempotency,
        };
        self.outcomes.map(self.writer.write(write).await, count, started)
    }
}
