//! Accepting visits: who is on which page of which host, for as long as heartbeats come.

use std::sync::LazyLock;

use deadpool_redis::{
    Connection,
    redis::{RedisError, Script, ScriptInvocation, Value},
};
use mayfly_core::{Mark, Visit, limits};
use mayfly_runtime::settings::{self, Settings};

use crate::{
    accept::millis,
    acceptance::Acceptance,
    client::{Limit, add_client, marks},
    error::HotError,
    lane::{Lane, Trip},
    once::Once,
    pool::Hot,
};

static VISIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("scripts/client.lua"),
        include_str!("scripts/visitors.lua"),
        include_str!("scripts/visit.lua")
    ))
});

/// What the limit of a client counts.
const KIND: &str = "visits";

/// Visits of one request, to be taken all or none.
pub struct VisitsWrite {
    /// The visits.
    pub visits: Vec<Visit>,
    /// The client whose limit they count for.
    pub limit: Option<Limit>,
    /// What the request is known by when it is sent again.
    pub once: Option<Once>,
}

/// Takes visits, each at a cost that grows with the logarithm of the visitors of its host. Cheap to
/// clone.
///
/// Of a host with more than `visits.exact_max` visits, a visitor on a page each, only some visitors are
/// kept: those of whole classes of [`Mark::class`], fewer and fewer, as `visitors.lua` describes it.
/// [`count_visitors`](Hot::count_visitors) says what their number is worth then. A visit that is not
/// kept is accepted like any other.
#[derive(Clone)]
pub struct VisitsAcceptor {
    lane: Lane<VisitsTrip>,
}

struct VisitsTrip {
    hot: Hot,
    settings: settings::Visits,
}

impl VisitsAcceptor {
    /// Opens the way into the store.
    #[must_use]
    pub fn open(hot: &Hot, settings: &Settings) -> Self {
        let trip = VisitsTrip { hot: hot.clone(), settings: settings.visits.clone() };
        let ingest = &settings.ingest;
        let lane = Lane::open(hot.clone(), trip, ingest.waiting_max, ingest.batch_bytes_max);
        Self { lane }
    }

    /// Takes the visits of one request, all or none.
    pub async fn accept(&self, write: VisitsWrite) -> Result<Acceptance, HotError> {
        self.lane.ask(write).await
    }
}

/// What a visit weighs in a trip beside its names: arguments, keys, the work of the script.
const VISIT_OVERHEAD_BYTES: usize = 512;

impl Trip for VisitsTrip {
    type Request = VisitsWrite;
    type Answer = Acceptance;

    fn weight(&self, request: &VisitsWrite) -> usize {
        let names = |visit: &Visit| {
            let title = visit.title.as_ref().map_or(0, |title| title.as_str().len());
            2 * visit.host.as_str().len() + visit.path.as_str().len() + title
        };
        request.visits.iter().map(|visit| names(visit) + VISIT_OVERHEAD_BYTES).sum()
    }

    async fn travel(
        &self,
        connection: &mut Connection,
        requests: &[VisitsWrite],
    ) -> Result<Vec<Acceptance>, RedisError> {
        let settings::Visits { ttl, exact_max, pages_max, hosts_max } = self.settings;
        let mut call = VISIT.prepare_invoke();
        call.key(self.hot.keys.visited_hosts());
        call.arg(millis(ttl)).arg(exact_max).arg(pages_max).arg(hosts_max);
        call.arg(millis(limits::WRITE_REPEATABLE_FOR)).arg(requests.len());
        for request in requests {
            self.add_request(&mut call, request);
        }
        let outcomes: Vec<Value> = call.invoke_async(connection).await?;
        let outcomes = outcomes.iter().zip(requests);
        outcomes
            .map(|(outcome, write)| Acceptance::read(outcome, write.limit.as_ref(), |_| Some(())))
            .collect()
    }
}

impl VisitsTrip {
    fn add_request(&self, call: &mut ScriptInvocation<'_>, write: &VisitsWrite) {
        let (limit, once) = (write.limit.as_ref(), write.once.as_ref());
        call.arg(marks(write.visits.len(), limit, once));
        add_client(call, &self.hot.keys, KIND, limit, once);
        for Visit { host, path, title, visitor } in &write.visits {
            let (page, visitor) = (Mark::of(path.as_str()), Mark::of(visitor.as_str()));
            call.key(self.hot.keys.visits(host)).arg(host.as_str());
            call.arg(page.to_hex()).arg(visitor.to_hex()).arg(visitor.class());
            call.arg(path.as_str()).arg(title.as_ref().map_or("", |title| title.as_str()));
        }
    }
}
