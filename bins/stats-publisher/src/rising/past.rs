//! What Postgres knows of a host's past, asked so that sampling never waits long for it.

use std::{collections::HashMap, time::Duration};

use mayfly_cold::{Cold, ColdError};
use mayfly_core::{Host, Sample, Timestamp};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::debug;

/// How long a sample waits for an answer: much less than the lease lasts.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long no sample waits after one waited in vain, and how long it is until Postgres is asked for
/// the same again.
const PAUSE: Duration = Duration::from_secs(10);
/// Hosts of which it is remembered what is usual.
const HOSTS_MAX: usize = 10_000;
/// Pages of all hosts of which it is remembered what is usual: some 100 MB where names are usual.
const PAGES_MAX: usize = 1_000_000;

const HOUR_MS: i64 = 3_600_000;

/// What is usual for each page, by its path.
pub type Usual = HashMap<String, f64>;

/// What Postgres knows of the past, with a memory of what is usual in the present hour.
pub struct Past {
    cold: Cold,
    hosts: HashMap<Host, HostUsual>,
    /// Nobody waits before.
    patient_from: Instant,
}

/// What is known to be usual for one host.
struct HostUsual {
    /// Which hour it is for, counted from 1970.
    hour: i64,
    /// When Postgres was asked.
    asked_at: Instant,
    /// Its answer, while that is not there yet.
    asking: Option<JoinHandle<Result<Usual, ColdError>>>,
    /// Its answer.
    usual: Option<Usual>,
    /// When a sample needed it.
    used_at: Instant,
}

impl Past {
    /// Of this Postgres.
    pub fn new(cold: Cold) -> Self {
        Self { cold, hosts: HashMap::new(), patient_from: Instant::now() }
    }

    /// The newest sample that was taken at this moment or before; none where Postgres does not say so
    /// at once.
    pub async fn find_sample(&mut self, host: &Host, at: Timestamp) -> Option<Sample> {
        if Instant::now() < self.patient_from {
            return None;
        }
        match timeout(PATIENCE, self.cold.find_sample(host, at)).await {
            Ok(Ok(sample)) => return sample,
            Ok(Err(error)) => debug!(%error, "the sample before is not known"),
            Err(_) => self.patient_from = Instant::now() + PAUSE,
        }
        None
    }

    /// What is usual for each page of a host in the hour of this moment; nothing where Postgres did not
    /// say so yet. It is asked once an hour, and where it is away every ten seconds.
    pub async fn find_usual(&mut self, host: &Host, at: Timestamp) -> Option<&Usual> {
        let hour = at.as_millis().div_euclid(HOUR_MS);
        if !self.hosts.contains_key(host) {
            self.make_room();
        }
        let now = Instant::now();
        let cold = &self.cold;
        let ask = || {
            let (cold, host) = (cold.clone(), host.clone());
            Some(tokio::spawn(async move { cold.find_usual(&host, at).await }))
        };
        let known = self.hosts.entry(host.clone()).or_insert_with(|| HostUsual {
            hour,
            asked_at: now,
            asking: ask(),
            usual: None,
            used_at: now,
        });
        known.used_at = now;
        let is_to_be_asked = known.usual.is_none() && known.asked_at.elapsed() >= PAUSE;
        if known.hour != hour || (known.asking.is_none() && is_to_be_asked) {
            (known.hour, known.asked_at, known.usual, known.asking) = (hour, now, None, ask());
        }
        known.wait(&mut self.patient_from).await;
        self.forget_most();
        self.hosts.get(host)?.usual.as_ref()
    }

    /// Makes room for one more host: that goes which nobody needed for longest.
    fn make_room(&mut self) {
        if self.hosts.len() >= HOSTS_MAX
            && let Some(host) = oldest(self.hosts.iter())
        {
            self.hosts.remove(&host);
        }
    }

    /// Forgets pages where it remembers too many, those of the host that nobody needed for longest
    /// first. Postgres is not asked for them at once.
    fn forget_most(&mut self) {
        let pages = |one: &HostUsual| one.usual.as_ref().map_or(0, HashMap::len);
        let mut remembered: usize = self.hosts.values().map(pages).sum();
        while remembered > PAGES_MAX {
            let Some(host) = oldest(self.hosts.iter().filter(|one| pages(one.1) > 0)) else {
                return;
            };
            if let Some(known) = self.hosts.get_mut(&host) {
                remembered -= pages(known);
                known.usual = None;
            }
        }
    }
}

fn oldest<'a>(hosts: impl Iterator<Item = (&'a Host, &'a HostUsual)>) -> Option<Host> {
    hosts.min_by_key(|(_, known)| known.used_at).map(|(host, _)| host.clone())
}

impl HostUsual {
    /// Takes the answer if it is there, or comes at once.
    async fn wait(&mut self, patient_from: &mut Instant) {
        let Some(asking) = &mut self.asking else { return };
        let is_patient = Instant::now() >= *patient_from;
        if !is_patient && !asking.is_finished() {
            return;
        }
        match timeout(PATIENCE, asking).await {
            Ok(Ok(Ok(usual))) => self.usual = Some(usual),
            Ok(Ok(Err(error))) => debug!(%error, "it is not known what is usual"),
            Ok(Err(error)) => debug!(%error, "it was not asked what is usual"),
            // It is looked for again with the next sample.
            Err(_) => {
                *patient_from = Instant::now() + PAUSE;
                return;
            }
        }
        self.asking = None;
    }
}
