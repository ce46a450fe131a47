//! Ingestion of visits.

use std::time::Instant;

use mayfly_core::Visit;
use mayfly_hot::{HotStore, VisitWriteRequest, VisitWriter};
use mayfly_http::Problem;
use mayfly_runtime::{Settings, settings::Rate};

use crate::{client_identity::WriteContext, outcome::OutcomeMapper, write_response::WriteResponse};

/// Accepts visits. Each HTTP thread has its own instance.
pub struct VisitIngestion {
    writer: VisitWriter,
    /// The limit per client.
    rate: Option<Rate>,
    outcomes: OutcomeMapper,
}

impl VisitIngestion {
    /// Creates an instance that writes to `hot`.
    pub fn new(hot: &HotStore, settings: &Settings) -> Self {
        Self {
            writer: VisitWriter::start(hot, settings),
            rate: settings.limits.visits,
            outcomes: OutcomeMapper::new("visits"),
        }
    }

    /// Accepts visits atomically.
    pub async fn accept(
        &self,
        visits: Vec<Visit>,
        context: WriteContext,
    ) -> Result<WriteResponse, Problem> {
        let started = Instant::now();
        let count = visits.len();
        let limit = context.limit(self.rate);
        let write = VisitWriteRequest { visits, limit, idempotency: context.idempotency };
        self.outcomes.map(self.writer.write(write).await, count, started)
    }
}
