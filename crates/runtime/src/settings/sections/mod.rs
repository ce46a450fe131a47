//! The sections of the configuration, one struct per TOML table.

mod analytics;
mod api;
mod process;
mod storage;

pub use self::{
    analytics::{PlaysSettings, RisingSettings, RisingSource, StatsSettings, VisitsSettings},
    api::{
        AuthMode, AuthSettings, FanoutSettings, IngestSettings, JwksFile, LimitsSettings,
        ListSettings, SlowConsumer, TokenSecrets,
    },
    process::{
        AdminSettings, HttpSettings, LifecycleSettings, LogFormat, LogSettings, PublicSettings,
    },
    storage::{InboxSettings, PersistSettings, PostgresSettings, QueueSettings, RedisSettings},
};
