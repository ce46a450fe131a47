//! The configuration: one schema for all services, read once at startup.
//!
//! `default.toml` contains every key with its default and its meaning. A TOML file and environment
//! variables override the defaults.

mod error;
mod layers;
mod passwords;
mod reference;
mod sections;
#[cfg(test)]
mod tests;
mod values;

use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Deserialize;

pub use self::{
    error::SettingsError,
    reference::{render_env_example, render_key_table},
    sections::{
        AdminSettings, AuthMode, AuthSettings, FanoutSettings, HttpSettings, InboxSettings,
        IngestSettings, JwksFile, LifecycleSettings, LimitsSettings, ListSettings, LogFormat,
        LogSettings, PersistSettings, PlaysSettings, PostgresSettings, PublicSettings,
        QueueSettings, RedisSettings, RisingSettings, RisingSource, SlowConsumer, StatsSettings,
        TokenSecrets, VisitsSettings,
    },
    values::{
        address::ListenAddress,
        certificates::{Certificates, describe_rejected_certificate},
        duration::parse_duration,
        hosts::AllowedHosts,
        origin::{AllowedOrigin, AllowedOrigins},
        proxies::TrustedProxies,
        rate::Rate,
        url::{Authorities, InvalidTlsParameter, PostgresTls, SslMode, TargetSession},
    },
};
use self::{layers::Layers, values::url::find_passwords};
use crate::Service;

/// The time allowed for a commit, in addition to `persist.statement_timeout`. Includes the interval
/// between two heartbeats of persist-worker (2 s), because a worker can crash at the end of an
/// interval, when it has just begun a commit. An entry that another worker claims before the commit
/// is processed twice.
const COMMIT_MARGIN: Duration = Duration::from_secs(5);

/// The environment variables with the secrets of the S3 client, which are not part of the schema.
const S3_SECRETS: [&str; 2] = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// All configuration keys, with one field per section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The public port.
    pub http: HttpSettings,
    /// The port for operators.
    pub admin: AdminSettings,
    /// Level and format of the log.
    pub log: LogSettings,
    /// The time limit of a shutdown.
    pub lifecycle: LifecycleSettings,
    /// The public URLs of the services.
    pub public: PublicSettings,
    /// API keys and tokens.
    pub auth: AuthSettings,
    /// The hot store.
    pub redis: RedisSettings,
    /// The cold store.
    pub postgres: PostgresSettings,
    /// The streams and their consumer groups.
    pub queue: QueueSettings,
    /// The live messages of one username.
    pub inbox: InboxSettings,
    /// Writes in ingest-api.
    pub ingest: IngestSettings,
    /// Rate limits per client.
    pub limits: LimitsSettings,
    /// Reads in list-api.
    pub list: ListSettings,
    /// Storage of entries in Postgres.
    pub persist: PersistSettings,
    /// Publication of play counts.
    pub plays: PlaysSettings,
    /// Presence of visitors on pages.
    pub visits: VisitsSettings,
    /// The source of visitor counts.
    pub rising: RisingSettings,
    /// Delivery of feeds to connections.
    pub fanout: FanoutSettings,
    /// The statistics snapshot.
    pub stats: StatsSettings,
}

impl Settings {
    /// Reads the configuration of this process from the environment and from the file that
    /// `MAYFLY_CONFIG` names.
    ///
    /// # Errors
    /// The first key that is unknown, has an invalid value, or contradicts another key.
    pub fn load() -> Result<Self, SettingsError> {
        Self::load_checked(Self::validate)
    }

    /// Does the same as [`Settings::load`], and also checks that `service` can use the values.
    ///
    /// # Errors
    /// The same errors as [`Settings::load`] and [`Settings::validate_for`].
    pub fn load_for(service: Service) -> Result<Self, SettingsError> {
        Self::load_checked(|settings| {
            settings.validate()?;
            settings.validate_for(service)
        })
    }

    fn load_checked(
        check: impl FnOnce(&Self) -> Result<(), SettingsConflict>,
    ) -> Result<Self, SettingsError> {
        let env: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .filter(|(name, _)| layers::is_setting(name))
            .collect();
        let file = layers::read_named_file(&env)?;
        let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        Self::from_checked_layers(file, env.into_iter(), check)
    }

    /// Reads the configuration from a file, given as name and text, and from environment variables.
    ///
    /// # Errors
    /// The same errors as [`Settings::load`].
    pub fn from_layers(
        file: Option<(&str, &str)>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        Self::from_checked_layers(file, env, Self::validate)
    }

    fn from_checked_layers(
        file: Option<(&str, &str)>,
        env: impl Iterator<Item = (String, String)>,
        check: impl FnOnce(&Self) -> Result<(), SettingsConflict>,
    ) -> Result<Self, SettingsError> {
        let layers = Layers::read(file, env)?;
        let settings = layers.merge()?;
        match check(&settings) {
            Ok(()) => Ok(settings),
            Err(conflict) => Err(layers.locate_error(conflict.key, &conflict.message)),
        }
    }

    /// Rejects values that are valid individually but unsafe in combination.
    ///
    /// # Errors
    /// The key to change, and its valid values.
    pub fn validate(&self) -> Result<(), SettingsConflict> {
        let commit_max = self.persist.statement_timeout + COMMIT_MARGIN;
        if self.queue.claim_after <= commit_max {
            let message = format!(
                "must be longer than persist.statement_timeout + 5s ({commit_max:?}), because an \
                 entry that is claimed during its commit is processed twice"
            );
            return Err(SettingsConflict { key: "queue.claim_after", message });
        }
        if self.redis.ca_file.is_some() && !self.redis.url.expose_secret().starts_with("rediss://")
        {
            let message = "must be empty unless redis.url starts with rediss://".to_owned();
            return Err(SettingsConflict { key: "redis.ca_file", message });
        }
        if self.auth.jwks_file.is_some() && !self.auth.jwks_url.is_empty() {
            let message = "must be empty if auth.jwks_file is set".to_owned();
            return Err(SettingsConflict { key: "auth.jwks_url", message });
        }
        if self.rising.source == RisingSource::Chartbeat && self.rising.chartbeat_url.is_empty() {
            let message = "must not be empty if rising.source is chartbeat".to_owned();
            return Err(SettingsConflict { key: "rising.chartbeat_url", message });
        }
        if self.http.drain_delay >= self.lifecycle.shutdown_timeout {
            let message =
                format!("must be longer than http.drain_delay ({:?})", self.http.drain_delay);
            return Err(SettingsConflict { key: "lifecycle.shutdown_timeout", message });
        }
        Ok(())
    }
}

impl Settings {
    /// Returns the secrets of this process: the passwords in the connection URLs, the secrets that
    /// verify tokens, and the credentials of the S3 client.
    pub(crate) fn list_secrets(&self) -> Vec<String> {
        let mut secrets = find_passwords(&self.redis.url);
        secrets.extend(find_passwords(&self.postgres.url));
        let token_secrets = self.auth.secret_file.iter().flat_map(TokenSecrets::as_slice);
        secrets.extend(token_secrets.map(|secret| secret.expose_secret().to_owned()));
        let s3_secrets = S3_SECRETS.into_iter().filter_map(std::env::var_os);
        secrets.extend(s3_secrets.filter_map(|secret| secret.into_string().ok()));
        secrets
    }

    /// Rejects values that `service` cannot use together.
    ///
    /// # Errors
    /// The key to change, and its valid values.
    pub fn validate_for(&self, service: Service) -> Result<(), SettingsConflict> {
        let (http, admin) = (self.http.listen, self.admin.listen);
        if service.has_public_port() && http.conflicts_with(admin) {
            let message = format!("must have a different port from http.listen ({http})");
            return Err(SettingsConflict { key: "admin.listen", message });
        }
        Ok(())
    }
}

/// A value that contradicts the value of another key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct SettingsConflict {
    /// The key to change.
    key: &'static str,
    message: String,
}
