//! Acceptance of visits.

use deadpool_redis::{
    Connection,
    redis::{RedisError, ScriptInvocation, Value},
};
use mayfly_core::{ShortHash, Visit, limits};
use mayfly_runtime::settings::{self, Settings};

use crate::{
    connection::{BatchCommand, Batcher, HotError, HotStore, millis, script},
    write::{ClientLimit, IdempotentRequest, WriteOutcome, add_client_arguments, request_header},
};

script!(
    ACCEPT,
    include_str!("../write/rate_limit.lua"),
    include_str!("visitors.lua"),
    include_str!("accept_visits.lua"),
);

/// The items that the rate limit counts.
const KIND: &str = "visits";

/// A request to accept visits, all or none.
pub struct VisitWriteRequest {
    /// The visits.
    pub visits: Vec<Visit>,
    /// The rate limit of the client, if there is one.
    pub limit: Option<ClientLimit>,
    /// The idempotency key, if there is one.
    pub idempotency: Option<IdempotentRequest>,
}

/// Accepts visits in batches. Cheap to clone. O(log n) per visit for n visitors of its host.
///
/// For a host with more than `visits.exact_max` visits (pairs of a visitor and a page), only a
/// sample of the visitors is stored: those of some classes of [`ShortHash::class`], as described in
/// `visitors.lua`. [`Visits::count_visitors`](crate::Visits::count_visitors) estimates their
/// number. A visit that is not in the sample is accepted like any other.
#[derive(Clone)]
pub struct VisitWriter {
    batcher: Batcher<AcceptVisits>,
}

struct AcceptVisits {
    store: HotStore,
    settings: settings::VisitsSettings,
}

impl VisitWriter {
    /// Starts a writer.
    #[must_use]
    pub fn start(store: &HotStore, settings: &Settings) -> Self {
        let command = AcceptVisits { store: store.clone(), settings: settings.visits.clone() };
        let ingest = &settings.ingest;
        let (queue_max, weight_max) = (ingest.waiting_max, ingest.batch_bytes_max);
        Self { batcher: Batcher::start(store.clone(), command, queue_max, weight_max) }
    }

    /// Accepts the visits of one request, all or none.
    pub async fn write(&self, write: VisitWriteRequest) -> Result<WriteOutcome, HotError> {
        self.batcher.submit(write).await
    }
}

/// The weight of a visit in a batch in addition to its names: arguments, keys, the work of the
/// script.
const VISIT_OVERHEAD_BYTES: usize = 512;

impl BatchCommand for AcceptVisits {
    type Request = VisitWriteRequest;
    type Response = WriteOutcome;

    fn weight(&self, request: &VisitWriteRequest) -> usize {
        let names = |visit: &Visit| {
            let title = visit.title.as_ref().map_or(0, |title| title.as_str().len());
            2 * visit.host.as_str().len() + visit.path.as_str().len() + title
        };
        request.visits.iter().map(|visit| names(visit) + VISIT_OVERHEAD_BYTES).sum()
    }

    async fn execute(
        &self,
        connection: &mut Connection,
        requests: &[VisitWriteRequest],
    ) -> Result<Vec<WriteOutcome>, RedisError> {
        let settings::VisitsSettings { ttl, exact_max, pages_max, hosts_max } = self.settings;
        let mut call = ACCEPT.prepare_invoke();
        call.key(self.store.keys.visited_hosts());
        call.arg(millis(ttl)).arg(exact_max).arg(pages_max).arg(hosts_max);
        call.arg(millis(limits::WRITE_IDEMPOTENCY_TTL)).arg(requests.len());
        for request in requests {
            self.add_request(&mut call, request);
        }
        let outcomes: Vec<Value> = call.invoke_async(connection).await?;
        let limits = requests.iter().map(|write| write.limit.as_ref());
        WriteOutcome::parse_batch(&outcomes, limits, |_| Some(()))
    }
}

impl AcceptVisits {
    fn add_request(&self, call: &mut ScriptInvocation<'_>, write: &VisitWriteRequest) {
        let VisitWriteRequest { visits, limit, idempotency } = write;
        let (limit, idempotency) = (limit.as_ref(), idempotency.as_ref());
        call.arg(request_header(visits.len(), limit, idempotency));
        add_client_arguments(call, &self.store.keys, KIND, limit, idempotency);
        for Visit { host, path, title, visitor } in visits {
            let page = ShortHash::new(path.as_str());
            let visitor = ShortHash::new(visitor.as_str());
            call.key(self.store.keys.visits(host)).arg(host.as_str());
            call.arg(page.to_hex()).arg(visitor.to_hex()).arg(visitor.class());
            call.arg(path.as_str()).arg(title.as_ref().map_or("", |title| title.as_str()));
        }
    }
}
