//! The command line of a service.

use clap::{Arg, ArgAction, Command};

use crate::{Service, VERSION};

/// What the command line asks for. Help, version and mistakes end the process before.
pub(crate) struct CommandLine {
    /// Only read the configuration and say whether it is valid.
    pub(crate) check_config: bool,
}

impl CommandLine {
    /// Reads the command line of this process.
    pub(crate) fn parse(service: Service) -> Self {
        let matches = command(service).get_matches();
        Self { check_config: matches.get_flag("check-config") }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command(Service::IngestApi).debug_assert();
    }
}
