//! Builds the spec of the local stack from the command line and the environment.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Parser as _;
use mayfly_stack::control::Checkout;
use mayfly_stack::{Spec, is_managed_setting, parse_scale};

use crate::command_line::{Command, CommandLine, StackOptions};

/// Variables that many environments set for other purposes. They replace the stack's own servers
/// only on make's command line, which passes them as options.
const SERVER_VARIABLES: [&str; 3] = ["REDIS_URL", "DATABASE_URL", "S3_ENDPOINT"];

impl StackOptions {
    /// Returns the options of `mayfly up` without arguments, which are those of the environment.
    pub(crate) fn from_environment() -> Result<Self> {
        let line = CommandLine::try_parse_from(["mayfly", "up"]);
        match line.map(|line| line.command) {
            Ok(Command::Up(options)) => Ok(options),
            Ok(_) => bail!("`mayfly up` parsed as another command"),
            Err(error) => bail!("{error}"),
        }
    }

    /// Returns the spec of the stack of a checkout.
    pub(crate) fn to_spec(&self, checkout: &Checkout) -> Result<Spec> {
        let env = read_environment();
        let is_s3_variable = |name: &str| name.starts_with("AWS_") || name.starts_with("MESSY_");
        Ok(Spec {
            port_base: Some(self.port_base),
            scale: parse_scale(&self.scale)?,
            env: select(&env, |name| name.starts_with("MAYFLY_") && name.contains("__")),
            redis_url: non_empty(self.redis_url.as_ref()),
            database_url: non_empty(self.database_url.as_ref()),
            s3_endpoint: non_empty(self.s3_endpoint.as_ref()),
            s3_env: if non_empty(self.s3_endpoint.as_ref()).is_some() {
                select(&env, is_s3_variable)
            } else {
                BTreeMap::new()
            },
            ..Spec::new(checkout.paths.root(), &checkout.bin_dir)
        })
    }

    /// Prints which environment variables are ignored.
    pub(crate) fn report_ignored_variables(&self) {
        for line in self.list_ignored(&read_environment()) {
            eprintln!("mayfly: {line}");
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
        servers.chain(settings).collect()
    }
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
            scale: String::new(),
            port_base: 8080,
            redis_url: None,
            database_url: None,
            s3_endpoint: None,
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
}
