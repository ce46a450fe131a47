//! The command line of a service.

use clap::{Arg, ArgAction, Command};

use crate::{Service, VERSION};

/// The parsed command line. `--help`, `--version` and usage errors exit the process during parsing.
pub(crate) struct CommandLine {
    /// The one-shot command to run instead of the service, if there is one.
    pub(crate) one_shot: Option<OneShot>,
}

/// A command that runs once and exits.
pub(crate) enum OneShot {
    /// Validates the configuration.
    CheckConfig,
    /// Checks whether the service on this machine is ready.
    CheckReady,
}

impl CommandLine {
    /// Parses the command line of this process.
    pub(crate) fn parse(service: Service) -> Self {
        let matches = build_command(service).get_matches();
        let one_shot = if matches.get_flag("check-config") {
            Some(OneShot::CheckConfig)
        } else if matches.get_flag("check-ready") {
            Some(OneShot::CheckReady)
        } else {
            None
        };
        Self { one_shot }
    }
}

fn build_command(service: Service) -> Command {
    Command::new(service.name())
        .version(VERSION)
        .about(service.about())
        .after_help(
            "Configuration: MAYFLY_CONFIG names a TOML file; MAYFLY_SECTION__KEY overrides one key.\n\
             `mayfly config env` prints every key with its default and meaning.",
        )
        .arg(
            Arg::new("check-config")
                .long("check-config")
                .action(ArgAction::SetTrue)
                .help("Validate the configuration and exit: 0 if it is valid, 78 if not"),
        )
        .arg(
            Arg::new("check-ready")
                .long("check-ready")
                .action(ArgAction::SetTrue)
                .conflicts_with("check-config")
                .help(
                    "Check whether the service on this machine is ready and exit: 0 if so, 1 if not",
                ),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_definition_is_valid() {
        build_command(Service::IngestApi).debug_assert();
    }
}
