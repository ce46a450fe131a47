//! Builds the spec of the local stack from the command line and the environment.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Parser as _;
use mayfly_live_client::terminal::print_err;
use mayfly_runtime::redact;
use mayfly_stack::control::Checkout;
use mayfly_stack::{Service, Spec, is_managed_setting, parse_scale};

use crate::command_line::{Command, CommandLine, StackOptions};

/// Variables that many environments set for other purposes. They replace the stack's own servers
/// only if they are set on the command line of `make`, which passes them as options.
const SERVER_VARIABLES: [&str; 3] = ["REDIS_URL", "DATABASE_URL", "S3_ENDPOINT"];

/// The port of ws-fanout if no port is given.
const DEFAULT_PORT_BASE: u16 = 8080;

impl StackOptions {
    /// Returns the options that `mayfly up` reads from the environment if it has no arguments.
    pub(crate) fn from_environment() -> Result<Self> {
        let line = CommandLine::try_parse_from(["mayfly", "up"]);
        match line.map(|line| line.command) {
            Ok(Command::Up(options)) => Ok(options),
            Ok(_) => bail!("`mayfly up` parsed as another command"),
            Err(error) => bail!("{error}"),
        }
    }

    /// Builds the spec of a checkout's stack from these options and the environment.
    pub(crate) fn to_spec(&self, checkout: &Checkout) -> Result<Spec> {
        let env = read_environment();
        let s3_endpoint = non_empty(self.s3_endpoint.as_ref());
        let is_s3_variable = |name: &str| {
            name.starts_with("MESSY_") || (s3_endpoint.is_some() && name.starts_with("AWS_"))
        };
        Ok(Spec {
            port_base: Some(self.port_base.unwrap_or(DEFAULT_PORT_BASE)),
            scale: parse_scale(self.scale.as_deref().unwrap_or_default())?,
            env: select(&env, is_setting),
            redis_url: non_empty(self.redis_url.as_ref()),
            database_url: non_empty(self.database_url.as_ref()),
            s3_env: select(&env, is_s3_variable),
            s3_endpoint,
            ..Spec::new(checkout.paths.root(), &checkout.bin_dir)
        })
    }

    /// Lists the settings of a running stack that `requested` would undo because these options do
    /// not contain them. Omits or redacts values that may contain secrets.
    pub(crate) fn list_missing(&self, current: &Spec, requested: &Spec) -> Vec<String> {
        let mut missing = Vec::new();
        if self.port_base.is_none() && current.port_base != requested.port_base {
            let base = current.port_base.unwrap_or_default();
            missing.push(format!("MAYFLY_PORT_BASE={base}"));
        }
        if self.scale.is_none() {
            let changed =
                Service::ALL.into_iter().filter(|s| current.count(*s) != requested.count(*s));
            let counts: Vec<_> =
                changed.map(|s| format!("{}={}", s.name(), current.count(s))).collect();
            if !counts.is_empty() {
                missing.push(format!("SCALE=\"{}\"", counts.join(" ")));
            }
        }
        let servers = [
            (self.redis_url.is_none(), &current.redis_url),
            (self.database_url.is_none(), &current.database_url),
            (self.s3_endpoint.is_none(), &current.s3_endpoint),
        ];
        let servers = SERVER_VARIABLES.into_iter().zip(servers);
        let servers =
            servers.filter(|(_, (is_missing, url))| *is_missing && url.is_some()).map(|(n, _)| n);
        missing.extend(servers.map(|name| format!("{name} (on the command line)")));
        let settings = current.env.iter().filter(|(name, _)| {
            is_setting(name) && !is_managed_setting(name) && !requested.env.contains_key(*name)
        });
        missing.extend(settings.map(|(name, value)| format!("{name}={}", redact(value))));
        let s3 = current.s3_env.keys().filter(|name| !requested.s3_env.contains_key(*name));
        missing.extend(s3.cloned());
        missing
    }

    /// Prints a line for each environment variable that is ignored.
    pub(crate) fn report_ignored_variables(&self) {
        for line in self.list_ignored(&read_environment()) {
            print_err(&line);
        }
    }

    fn list_ignored(&self, env: &BTreeMap<String, String>) -> Vec<String> {
        let flags = [&self.redis_url, &self.database_url, &self.s3_endpoint];
        let servers = SERVER_VARIABLES.into_iter().zip(flags);
        let servers = servers.filter(|(name, flag)| flag.is_none() && env.contains_key(*name)).map(|(name, _)| {
            format!("ignoring {name} in the environment: the stack runs its own server (to use another one: make up {name}=…)")
        });
        let settings = env.keys().filter(|name| is_managed_setting(name));
        let settings =
            settings.map(|name| format!("ignoring {name}: the stack assigns the addresses"));
        let unknown = env.keys().filter(|name| is_unknown(name));
        let unknown = unknown.map(|name| {
            format!("ignoring {name}: settings of the stack are named MAYFLY_SECTION__KEY (see `mayfly config env`)")
        });
        servers.chain(settings).chain(unknown).collect()
    }
}

fn is_setting(name: &str) -> bool {
    name.starts_with("MAYFLY_") && name.contains("__")
}

/// Returns whether a variable looks like a setting of the stack or of the tests, but is not one.
fn is_unknown(name: &str) -> bool {
    let is_ours = name.starts_with("MAYFLY_") || name.starts_with("MESSY_");
    let is_known = is_setting(name)
        || name.starts_with("MAYFLY_TEST_")
        || ["MAYFLY_PORT_BASE", "MAYFLY_KEY_FILE", "MESSY_BUCKET", "MESSY_KEY"].contains(&name);
    is_ours && !is_known
}

/// Treats an empty value as missing.
fn non_empty(value: Option<&String>) -> Option<String> {
    value.filter(|value| !value.is_empty()).cloned()
}

fn select(
    env: &BTreeMap<String, String>,
    is_selected: impl Fn(&str) -> bool,
) -> BTreeMap<String, String> {
    env.iter()
        .filter(|(name, _)| is_selected(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn read_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_options() -> StackOptions {
        StackOptions {
            scale: None,
            port_base: None,
            redis_url: None,
            database_url: None,
            s3_endpoint: None,
            apply: false,
        }
    }

    fn env(name: &str) -> BTreeMap<String, String> {
        [(name.to_owned(), "redis://elsewhere".to_owned())].into()
    }

    #[test]
    fn server_in_the_environment_is_ignored_with_a_message() {
        let lines = default_options().list_ignored(&env("REDIS_URL"));
        assert!(lines.len() == 1 && lines[0].contains("REDIS_URL"), "{lines:?}");
        assert!(!lines[0].contains("elsewhere"), "a connection string may contain a secret");
    }

    #[test]
    fn server_on_the_command_line_is_used() {
        let redis_url = Some("redis://elsewhere".to_owned());
        let options = StackOptions { redis_url, ..default_options() };
        assert!(options.list_ignored(&env("REDIS_URL")).is_empty());
    }

    #[test]
    fn misspelled_setting_is_reported() {
        for name in ["MAYFLY_LOG_LEVEL", "MAYFLY_CONFIG", "MESSY_BUCKETS"] {
            let lines = default_options().list_ignored(&env(name));
            assert!(lines.len() == 1 && lines[0].contains(name), "{lines:?}");
        }
        let known = ["MAYFLY_LOG__LEVEL", "MAYFLY_PORT_BASE", "MAYFLY_KEY_FILE", "MESSY_BUCKET"];
        for name in known.into_iter().chain(["MAYFLY_TEST_FULL"]) {
            assert!(default_options().list_ignored(&env(name)).is_empty(), "{name}");
        }
    }

    #[test]
    fn only_settings_that_are_missing_and_differ_are_listed() {
        let requested = Spec::new("/checkout", "/bin");
        let options = default_options();
        assert!(options.list_missing(&requested, &requested).is_empty());
        let mut current = requested
            .clone()
            .with_scale(Service::WsFanout, 2)
            .with_scale(Service::ListApi, 1)
            .with_env("MAYFLY_LOG__LEVEL", "debug")
            .with_env("MAYFLY_RISING__CHARTBEAT_URL", "http://user:secret@host")
            .with_env("MAYFLY_HTTP__LISTEN", "ignored");
        current.port_base = Some(9000);
        current.redis_url = Some("redis://:secret@host".to_owned());
        let expected = [
            "MAYFLY_PORT_BASE=9000",
            "SCALE=\"ws-fanout=2\"",
            "REDIS_URL (on the command line)",
            "MAYFLY_LOG__LEVEL=debug",
            "MAYFLY_RISING__CHARTBEAT_URL=<redacted>",
        ];
        assert_eq!(options.list_missing(&current, &requested), expected);

        let given = StackOptions {
            port_base: Some(8080),
            scale: Some(String::new()),
            redis_url: Some(String::new()),
            ..options
        };
        let requested = requested.with_env("MAYFLY_LOG__LEVEL", "info");
        let rest = ["MAYFLY_RISING__CHARTBEAT_URL=<redacted>"];
        assert_eq!(given.list_missing(&current, &requested), rest);
    }
}
