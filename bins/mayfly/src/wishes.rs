//! From the command line and the environment to what the stack should be.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Parser as _;
use mayfly_stack::{Spec, is_own_setting, parse_scale};

use crate::checkout::Checkout;
use crate::command_line::{Command, CommandLine, Wishes};

/// Names that everyone knows. They take the place of the stack's own servers only when someone means it.
const SERVERS: [&str; 3] = ["REDIS_URL", "DATABASE_URL", "S3_ENDPOINT"];

impl Wishes {
    /// What `mayfly up` would be told here without options: by the environment.
    pub(crate) fn of_environment() -> Result<Self> {
        let line = CommandLine::try_parse_from(["mayfly", "up"]);
        match line.map(|line| line.command) {
            Ok(Command::Up(wishes)) => Ok(wishes),
            Ok(_) => bail!("`mayfly up` is another command"),
            Err(error) => bail!("{error}"),
        }
    }

    /// Makes the spec of the stack of a checkout.
    pub(crate) fn to_spec(&self, checkout: &Checkout) -> Result<Spec> {
        let env = read_environment();
        let foreign = |name: &str| name.starts_with("AWS_") || name.starts_with("MESSY_");
        Ok(Spec {
            port_base: Some(self.port_base),
            scale: parse_scale(&self.scale)?,
            env: select(&env, |name| name.starts_with("MAYFLY_") && name.contains("__")),
            redis_url: given(self.redis_url.as_ref()),
            database_url: given(self.database_url.as_ref()),
            s3_endpoint: given(self.s3_endpoint.as_ref()),
            s3_env: if given(self.s3_endpoint.as_ref()).is_some() {
                select(&env, foreign)
            } else {
                BTreeMap::new()
            },
            ..Spec::new(checkout.paths.root(), &checkout.bin_dir)
        })
    }

    /// Says what in the environment is not followed.
    pub(crate) fn report_ignored(&self) {
        for line in self.list_ignored(&read_environment()) {
            eprintln!("mayfly: {line}");
        }
    }

    fn list_ignored(&self, env: &BTreeMap<String, String>) -> Vec<String> {
        let flags = [&self.redis_url, &self.database_url, &self.s3_endpoint];
        let servers = SERVERS.into_iter().zip(flags);
        let servers = servers.filter(|(name, flag)| flag.is_none() && env.contains_key(*name)).map(|(name, _)| {
            format!("{name} in the environment is ignored, the stack runs its own (to use it: make up {name}=…)")
        });
        let settings = env.keys().filter(|name| is_own_setting(name));
        let settings =
            settings.map(|name| format!("{name} is ignored: the stack says where each service is"));
        servers.chain(settings).collect()
    }
}

/// An empty value is none.
fn given(value: Option<&String>) -> Option<String> {
    value.filter(|value| !value.is_empty()).cloned()
}

fn select(
    env: &BTreeMap<String, String>,
    which: impl Fn(&str) -> bool,
) -> BTreeMap<String, String> {
    env.iter()
        .filter(|(name, _)| which(name))
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

    fn wishes() -> Wishes {
        Wishes {
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
    fn a_server_in_the_environment_is_ignored_aloud() {
        let lines = wishes().list_ignored(&env("REDIS_URL"));
        assert!(lines.len() == 1 && lines[0].contains("REDIS_URL"), "{lines:?}");
        assert!(!lines[0].contains("elsewhere"), "a connection string is a secret");
    }

    #[test]
    fn a_server_on_the_command_line_is_meant() {
        let wishes = Wishes { redis_url: Some("redis://elsewhere".to_owned()), ..wishes() };
        assert!(wishes.list_ignored(&env("REDIS_URL")).is_empty());
    }
}
