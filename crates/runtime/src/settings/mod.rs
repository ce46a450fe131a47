//! The configuration: one schema for all services, read once at the start.
//!
//! `default.toml` holds every key, its default and its meaning. A TOML file and the environment are laid over it.

mod address;
mod admin;
mod count;
mod documented;
mod duration;
mod error;
mod fanout;
mod http;
mod inbox;
mod ingest;
mod layers;
mod lifecycle;
mod limits;
mod list;
mod log;
mod origin;
mod persist;
mod plays;
mod postgres;
mod proxies;
mod public;
mod queue;
mod rate;
mod redis;
mod rising;
mod scalar;
mod size;
mod stats;
mod switch;
#[cfg(test)]
mod tests;
mod url;
mod visits;

use std::time::Duration;

use serde::Deserialize;

use self::layers::Layers;
pub use self::{
    admin::Admin,
    documented::{env_example, key_table},
    duration::parse_duration,
    error::SettingsError,
    fanout::{Fanout, SlowConsumer},
    http::Http,
    inbox::Inbox,
    ingest::Ingest,
    lifecycle::Lifecycle,
    limits::Limits,
    list::List,
    log::{Log, LogFormat},
    origin::{AllowedOrigin, AllowedOrigins},
    persist::Persist,
    plays::Plays,
    postgres::Postgres,
    proxies::TrustedProxies,
    public::Public,
    queue::Queue,
    rate::Rate,
    redis::Redis,
    rising::{Rising, RisingSource},
    stats::Stats,
    visits::Visits,
};

/// What a commit may take beyond its statement; a takeover before it would store twice.
const COMMIT_MARGIN: Duration = Duration::from_secs(5);

/// Every key of the configuration, one field per section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The public port.
    pub http: Http,
    /// The port for the operator.
    pub admin: Admin,
    /// What is logged.
    pub log: Log,
    /// How a service leaves.
    pub lifecycle: Lifecycle,
    /// Where the services are for callers.
    pub public: Public,
    /// The hot store.
    pub redis: Redis,
    /// The cold store.
    pub postgres: Postgres,
    /// Work that must be done once.
    pub queue: Queue,
    /// The live messages of one username.
    pub inbox: Inbox,
    /// How writes are taken.
    pub ingest: Ingest,
    /// What one client may send.
    pub limits: Limits,
    /// How reads are answered.
    pub list: List,
    /// How entries are stored.
    pub persist: Persist,
    /// How counts of plays are published.
    pub plays: Plays,
    /// How visitors are counted.
    pub visits: Visits,
    /// Where the visitors of pages are known from.
    pub rising: Rising,
    /// How feeds are carried to connections.
    pub fanout: Fanout,
    /// What is summed up, and where it lies.
    pub stats: Stats,
}

impl Settings {
    /// Reads the configuration of this process from its environment.
    ///
    /// # Errors
    /// The first key that does not exist, has a bad value, or does not go with another one.
    pub fn load() -> Result<Self, SettingsError> {
        let env: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .filter(|(name, _)| layers::is_ours(name))
            .collect();
        let file = layers::read_named_file(&env)?;
        let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        Self::from_layers(file, env.into_iter())
    }

    /// Reads the configuration from a file, as its name and text, and variables of an environment.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn from_layers(
        file: Option<(&str, &str)>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let layers = Layers::read(file, env)?;
        let settings = layers.merge()?;
        match settings.validate() {
            Ok(()) => Ok(settings),
            Err(conflict) => Err(layers.refuse(conflict.key, &conflict.wrong)),
        }
    }

    /// Refuses values that are sound one by one and dangerous together.
    ///
    /// # Errors
    /// The key that would have to change, and what it would have to be.
    pub fn validate(&self) -> Result<(), Conflict> {
        let commit_max = self.persist.statement_timeout + COMMIT_MARGIN;
        if self.queue.claim_after <= commit_max {
            let wrong = format!(
                "allowed is more than persist.statement_timeout and 5s ({commit_max:?}): \
                 an entry taken over during its commit is stored twice"
            );
            return Err(Conflict { key: "queue.claim_after", wrong });
        }
        if self.rising.source == RisingSource::Chartbeat && self.rising.chartbeat_url.is_empty() {
            let wrong = "must be given where rising.source is chartbeat".to_owned();
            return Err(Conflict { key: "rising.chartbeat_url", wrong });
        }
        if self.http.drain_delay >= self.lifecycle.shutdown_timeout {
            let wrong =
                format!("allowed is more than http.drain_delay ({:?})", self.http.drain_delay);
            return Err(Conflict { key: "lifecycle.shutdown_timeout", wrong });
        }
        Ok(())
    }
}

/// Two values that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {wrong}")]
pub struct Conflict {
    /// The key that would have to change.
    key: &'static str,
    wrong: String,
}
