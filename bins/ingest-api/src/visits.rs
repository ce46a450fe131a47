//! Accepts visits and writes them to Redis.

use std::time::Instant;

use mayfly_core::Visit;
use mayfly_hot::{ExhaustedClients, HotStore, VisitWriteRequest, VisitWriter};
use mayfly_http::{Body, Problem};
use mayfly_runtime::Settings;

use crate::{
    client_identity::{ClientIdentity, WriteContext},
    outcome::OutcomeMapper,
    rate_limits::RateLimits,
    write_response::WriteResponse,
};

/// The ingestion of visits. Each HTTP thread has its own instance.
pub struct VisitIngestion {
    writer: VisitWriter,
    limits: RateLimits,
    outcomes: OutcomeMapper,
}

impl VisitIngestion {
    /// Creates an instance that writes to `hot`.
    pub fn new(hot: &HotStore, settings: &Settings, clients: ExhaustedClients) -> Self {
        Self {
            writer: VisitWriter::start(hot, settings, clients.clone()),
            limits: RateLimits::new(
                "visits",
                settings.limits.visits,
                |limits| limits.visits,
                clients,
            ),
            outcomes: OutcomeMapper::new("visits"),
        }
    }

    /// Rejects a request before it is parsed if even one visit would exceed the rate limit or the
    /// capacity of the writer. `bytes` is the size of the body.
    pub fn check(&self, client: &ClientIdentity, bytes: usize) -> Result<(), Problem> {
        self.check_items(client, bytes, 1)
    }

    /// Does the same as [`Self::check`] for a request with `items` visits.
    pub fn check_items(
        &self,
        client: &ClientIdentity,
        bytes: usize,
        items: usize,
    ) -> Result<(), Problem> {
        self.limits.check(client, items)?;
        Ok(self.writer.check_capacity(bytes, items)?)
    }

    /// Accepts visits atomically. `body` is the request body that contained the visits.
    pub async fn accept(
        &self,
        visits: Vec<Visit>,
        context: WriteContext,
        body: Body,
    ) -> Result<WriteResponse, Problem> {
        let started = Instant::now();
        let count = visits.len();
        let (client, limit) = (context.client.id(), self.limits.find(&context.client));
        let write = VisitWriteRequest { visits, client, limit, idempotency: context.idempotency };
        let _memory = body.release(write.weight())?;
        self.outcomes.map(self.writer.write(write).await, count, started)
    }
}
