//! The command line of a service.

use clap::{Arg, ArgAction, Command};

use crate::{Service, VERSION};

/// What the command line asks for. Help, version and mistakes end the process before.
pub(crate) struct CommandLine {
    /// What is to be done in place of the service.
    pub(crate) errand: Option<Errand>,
}

/// Something short that a binary does and leaves.
pub(crate) enum Errand {
    /// Read the configuration and say whether it is valid.
    CheckConfig,
    /// Ask the running service on this machine whether it is ready.
    CheckReady,
}

impl CommandLine {
    /// Reads the command line of this process.
    pub(crate) fn parse(service: Service) -> Self {
        let matches = command(service).get_matches();
        let errand = if matches.get_flag("check-config") {
            Some(Errand::CheckConfig)
        } else if matches.get_flag("check-ready") {
            Some(Errand::CheckReady)
        } else {
            None
        };
        Self { errand }
    }
}

fn command(service: Service) -> Command {
    Command::new(service.name())
        .version(VERSION)
        .about(service.about())
        .after_help("Configuration: MAYFLY_CONFIG names a TOML file, MAYFLY_SECTION__KEY sets one key.\n`mayfly config env` prints every key with its default and meaning.")
        .arg(
            Arg::new("check-config")
                .long("check-config")
                .action(ArgAction::SetTrue)
                .help("Reads the configuration, says whether it is valid, and leaves"),
        )
        .arg(
            Arg::new("check-ready")
                .long("check-ready")
                .action(ArgAction::SetTrue)
                .conflicts_with("check-config")
                .help("Asks the service that runs here whether it is ready, and leaves with 0 if so, else 1"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command(Service::IngestApi).debug_assert();
    }
}
