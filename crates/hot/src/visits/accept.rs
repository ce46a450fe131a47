//! Accepts visits.

use deadpool_redis::redis::{RedisError, ScriptInvocation, Value, aio::MultiplexedConnection};
use mayfly_core::{ShortHash, Visit, limits};
use mayfly_runtime::settings::{self, Settings};

use crate::{
    connection::{BatchCommand, BatchLimits, Batcher, HotError, HotStore, millis, script},
    write::{
        ClientLimit, ExhaustedClients, IdempotentRequest, WriteOutcome, add_client_arguments,
        request_header,
    },
};

script!(
    ACCEPT,
    include_str!("../write/rate_limit.lua"),
    include_str!("visitors.lua"),
    include_str!("accept_visits.lua"),
);

/// The kind of items that the rate limit counts.
const KIND: &str = "visits";

/// A request to accept either all of the given visits or none of them.
pub struct VisitWriteRequest {
    /// The visits.
    pub visits: Vec<Visit>,
    /// The identity of the client. The client becomes the owner of each visited host without an
    /// owner (see `accept_visits.lua`).
    pub client: String,
    /// The rate limit of the client, if there is one.
    pub limit: Option<ClientLimit>,
    /// The idempotency key, if there is one.
    pub idempotency: Option<IdempotentRequest>,
}

impl VisitWriteRequest {
    /// Returns the approximate size of the request in memory and in a batch, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let names = |visit: &Visit| {
            let title = visit.title.as_ref().map_or(0, |title| title.as_str().len());
            2 * visit.host.as_str().len() + visit.path.as_str().len() + title
        };
        self.visits.iter().map(|visit| names(visit) + VISIT_OVERHEAD_BYTES).sum()
    }
}

/// A writer that accepts visits in batches. Cheap to clone. O(log n) per visit for n stored visits
/// to the host.
///
/// If a host has more than `visits.exact_max` visits (visitor–page pairs), only a sample of its
/// visitors is stored: the visitors with a [`ShortHash::class`] of at least the host's current
/// level (see `visitors.lua`). [`Visits::count_visitors`](crate::Visits::count_visitors) estimates
/// the total number of visitors. A visit outside the sample is accepted but not stored.
#[derive(Clone)]
pub struct VisitWriter {
    store: HotStore,
    clients: ExhaustedClients,
    batcher: Batcher<VisitWriteRequest, WriteOutcome>,
}

struct AcceptVisits {
    store: HotStore,
    settings: settings::VisitsSettings,
}

impl VisitWriter {
    /// Starts a writer. `clients` stores the clients that have exceeded their rate limit for
    /// visits.
    #[must_use]
    pub fn start(store: &HotStore, settings: &Settings, clients: ExhaustedClients) -> Self {
        let command = AcceptVisits { store: store.clone(), settings: settings.visits.clone() };
        let batcher = Batcher::start(store, command, BatchLimits::from(&settings.ingest));
        Self { store: store.clone(), clients, batcher }
    }

    /// Returns an error if a request with a body of `bytes` bytes and with this number of visits
    /// would be refused now. Counts the refusal, unless the writer has stopped.
    pub fn check_capacity(&self, bytes: usize, visits: usize) -> Result<(), HotError> {
        self.batcher.check_capacity(bytes.saturating_add(visits * VISIT_OVERHEAD_BYTES))
    }

    /// Accepts either all visits in a request or none of them.
    pub async fn write(&self, write: VisitWriteRequest) -> Result<WriteOutcome, HotError> {
        let items = write.visits.len();
        let (limit, idempotency) = (write.limit.clone(), write.idempotency.clone());
        let weight = write.weight();
        let submission = self.batcher.submit(write, weight);
        self.clients.submit(&self.store, KIND, items, limit, idempotency, submission).await
    }
}

/// The estimated overhead of a visit in a batch, in bytes, in addition to its host, path and title:
/// its other arguments and keys, plus an allowance for the script's work on the visit.
const VISIT_OVERHEAD_BYTES: usize = 512;

impl BatchCommand for AcceptVisits {
    type Request = VisitWriteRequest;
    type Response = WriteOutcome;

    async fn execute(
        &self,
        connection: &mut MultiplexedConnection,
        requests: &[VisitWriteRequest],
    ) -> Result<Vec<WriteOutcome>, RedisError> {
        let settings::VisitsSettings { ttl, exact_max, pages_max, hosts_max, hosts_per_client_max } =
            self.settings;
        let mut call = ACCEPT.prepare_invoke();
        call.key(self.store.keys.visited_hosts()).key(self.store.keys.visited_host_owners());
        call.arg(millis(ttl)).arg(exact_max).arg(pages_max);
        call.arg(hosts_max).arg(hosts_per_client_max);
        call.arg(millis(limits::WRITE_IDEMPOTENCY_TTL)).arg(requests.len());
        for request in requests {
            self.add_request(&mut call, request);
        }
        let outcomes: Vec<Value> = call.invoke_async(connection).await?;
        self.store.record_unreadable(outcomes.get(requests.len()..).unwrap_or_default());
        let limits = requests.iter().map(|write| write.limit.as_ref());
        WriteOutcome::parse_batch(&outcomes, limits, |_| Some(()))
    }
}

impl AcceptVisits {
    fn add_request(&self, call: &mut ScriptInvocation<'_>, write: &VisitWriteRequest) {
        let VisitWriteRequest { visits, client, limit, idempotency } = write;
        let (limit, idempotency) = (limit.as_ref(), idempotency.as_ref());
        call.arg(request_header(visits.len(), limit, idempotency));
        add_client_arguments(call, &self.store.keys, KIND, limit, idempotency);
        call.key(self.store.keys.owned_hosts(client));
        for Visit { host, path, title, visitor } in visits {
            let page = ShortHash::new(path.as_str());
            let visitor = ShortHash::new(visitor.as_str());
            call.key(self.store.keys.visits(host).prefix()).arg(host.as_str());
            call.arg(page.to_hex()).arg(visitor.to_hex()).arg(visitor.class());
            call.arg(path.as_str()).arg(title.as_ref().map_or("", |title| title.as_str()));
        }
    }
}
