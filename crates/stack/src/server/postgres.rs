//! The stack's own Postgres.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use tokio::process::Command;

use crate::error::StackError;
use crate::files::paths::{Paths, create_dir};
use crate::process::{
    Account, Launch, Probe, StopPolicy, inherited_environment, set_parent_death_signal,
    stop_lock_holder,
};
use crate::programs::postgres::PostgresBinaries;
use crate::topology::addresses::{POSTGRES_NAME, database_url};
use crate::topology::instance::{Instance, ProcessKind};

const STOP_POLICY: StopPolicy = StopPolicy {
    // Fast shutdown: disconnects the clients and writes a checkpoint.
    graceful: Signal::SIGINT,
    timeout: Duration::from_secs(60),
    // Immediate shutdown: stops the child processes. The next start recovers from the WAL.
    immediate: Signal::SIGQUIT,
    parent_death: Signal::SIGQUIT,
};

/// The database that every new cluster has.
const MAINTENANCE_DATABASE: &str = "postgres";

/// An installation of Postgres with a data directory and the account that Postgres runs as.
#[derive(Debug)]
pub(crate) struct Postgres {
    binaries: PostgresBinaries,
    data: PathBuf,
    account: Option<Account>,
    durable: bool,
}

impl Postgres {
    /// Finds the programs, and creates the data directory if it does not exist yet. If `template`
    /// is set and exists, copies the template instead of initializing a new data directory.
    pub(crate) async fn set_up(
        paths: &Paths,
        durable: bool,
        template: Option<&Path>,
    ) -> Result<Self, StackError> {
        let account = find_account()?;
        let data = choose_dir(paths, account)?.join("data");
        let binaries = PostgresBinaries::find(read_data_major(&data))?;
        let postgres = Self { binaries, data, account, durable };
        if !is_initialized(&postgres.data) {
            match template {
                Some(template) => postgres.copy_template(template).await?,
                None => postgres.init_data_dir().await?,
            }
        }
        Ok(postgres)
    }

    /// Stops a Postgres that an earlier supervisor started on this data directory, and removes its
    /// stale lock file.
    pub(crate) async fn remove_stale_lock(&self) {
        let lock = self.data.join("postmaster.pid");
        stop_lock_holder(&lock, &self.data.display().to_string()).await;
        let _missing = fs::remove_file(lock);
    }

    /// Initializes a new data directory under a temporary name and renames it when it is complete,
    /// so that an interrupted `initdb` leaves no partial data directory under the final name.
    async fn init_data_dir(&self) -> Result<(), StackError> {
        let new = self.remove_partial_dir()?;
        let mut command = self.command(self.binaries.program("initdb"));
        command.arg("--pgdata").arg(&new).args([
            "--username",
            POSTGRES_NAME,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        if !self.durable {
            command.arg("--no-sync");
        }
        run(command).await?;
        fs::rename(&new, &self.data).map_err(StackError::io(&self.data))
    }

    /// Copies the data directory from `template`. If the template does not exist yet, initializes
    /// the data directory and copies it to `template`.
    async fn copy_template(&self, template: &Path) -> Result<(), StackError> {
        if is_initialized(template) {
            let new = self.remove_partial_dir()?;
            self.copy(template, &new).await?;
            return fs::rename(&new, &self.data).map_err(StackError::io(&self.data));
        }
        self.init_data_dir().await?;
        let new = self.data.with_extension("template");
        let saved = match self.copy(&self.data, &new).await {
            Ok(()) => fs::rename(&new, template).map_err(StackError::io(template)),
            failed => failed,
        };
        if let Err(error) = saved {
            // A concurrent caller may have created the template. Otherwise, the next caller
            // retries.
            tracing::debug!(%error, "cannot save the template of the Postgres data directory");
            let _incomplete = fs::remove_dir_all(&new);
        }
        Ok(())
    }

    /// Copies a directory and preserves owners and permissions.
    async fn copy(&self, from: &Path, to: &Path) -> Result<(), StackError> {
        let mut command = self.command("cp");
        command.arg("-Rp").arg(from).arg(to);
        run(command).await
    }

    /// Removes an incomplete data directory, if any, and returns the path for a new one.
    fn remove_partial_dir(&self) -> Result<PathBuf, StackError> {
        let new = self.data.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new).map_err(StackError::io(&new))?;
        }
        Ok(new)
    }

    /// Returns the configuration of the Postgres process.
    pub(crate) fn launch(&self, paths: &Paths, port: u16) -> Launch {
        let instance = Instance::first(ProcessKind::Postgres);
        Launch {
            program: self.binaries.program("postgres"),
            args: self.args(port),
            env: BTreeMap::new(),
            // The account may lack access to the directory of the caller.
            working_dir: PathBuf::from("/"),
            account: self.account,
            ports: vec![port],
            log: paths.log(instance),
            pid_file: paths.pid_file(instance),
            marker: self.data.display().to_string(),
            probe: Probe::Postgres(database_url(port, MAINTENANCE_DATABASE)),
            stop_policy: STOP_POLICY,
            exclusive_dir: Some(self.data.clone()),
            build: None,
        }
    }

    fn args(&self, port: u16) -> Vec<String> {
        let sync = if self.durable { "on" } else { "off" };
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            "max_connections=300".to_owned(),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
            format!("fsync={sync}"),
            format!("synchronous_commit={sync}"),
            format!("full_page_writes={sync}"),
        ];
        let data = ["-D".to_owned(), self.data.display().to_string()];
        data.into_iter()
            .chain(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]))
            .collect()
    }

    /// Returns a command that runs as the account of Postgres.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(inherited_environment())
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        set_parent_death_signal(&mut command, Signal::SIGKILL);
        command
    }
}

/// Creates the database for the services if it does not exist.
pub(crate) async fn create_main_database(port: u16) -> Result<(), StackError> {
    let url = database_url(port, MAINTENANCE_DATABASE);
    let find = format!("select 1 from pg_database where datname = '{POSTGRES_NAME}'");
    let rows = count_rows(&url, &find).await?;
    if rows == 0 { create_database(&url, POSTGRES_NAME, None).await } else { Ok(()) }
}

/// Creates a database on the server at `url`. If `template` is set, the new database is a copy of
/// the template, which must have no connections. Otherwise, the new database is empty.
pub(crate) async fn create_database(
    url: &str,
    name: &str,
    template: Option<&str>,
) -> Result<(), StackError> {
    let template = template.unwrap_or("template1");
    count_rows(url, &format!("create database {} template {}", quote(name), quote(template)))
        .await
        .map(drop)
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Runs one statement and returns the number of rows in its result.
async fn count_rows(url: &str, statement: &str) -> Result<usize, StackError> {
    let failed =
        |error: tokio_postgres::Error| StackError::Postgres(format!("{statement}: {error}"));
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let messages = client.simple_query(statement).await.map_err(failed);
    drop(client);
    // A database can be copied only after its connections are closed.
    let _closed = connection.await;
    Ok(messages?
        .iter()
        .filter(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_)))
        .count())
}

/// Returns the account for Postgres, or `None` for the account of this process. Postgres refuses to
/// run as root, so root uses the account that the package created.
fn find_account() -> Result<Option<Account>, StackError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let user = User::from_name("postgres").ok().flatten().ok_or_else(|| {
        StackError::MissingDependency(
            "Postgres cannot run as root, and the user `postgres` does not exist".to_owned(),
        )
    })?;
    Ok(Some(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
}

/// Creates the directory for Postgres and returns its path. The directory is in the checkout, or in
/// the fallback directory if the account cannot access the checkout.
fn choose_dir(paths: &Paths, account: Option<Account>) -> Result<PathBuf, StackError> {
    let preferred = paths.postgres();
    create_owned_dir(&preferred, account)?;
    if account.is_none_or(|account| can_write(&preferred, account)) {
        return Ok(preferred);
    }
    let fallback = paths.fallback_dir();
    create_dir(&fallback, 0o755)?;
    let owner = fallback.join("checkout");
    fs::write(&owner, paths.root().display().to_string()).map_err(StackError::io(&owner))?;
    let dir = fallback.join("postgres");
    create_owned_dir(&dir, account)?;
    Ok(dir)
}

fn create_owned_dir(dir: &Path, account: Option<Account>) -> Result<(), StackError> {
    create_dir(dir, 0o700)?;
    match account {
        Some(account) => {
            chown(dir, Some(account.uid), Some(account.gid)).map_err(StackError::io(dir))
        }
        None => Ok(()),
    }
}

/// Returns whether the account can write to a directory. A process of that account performs the
/// test, because mode bits do not cover every kind of permission.
fn can_write(dir: &Path, account: Account) -> bool {
    use std::os::unix::process::CommandExt as _;
    let mut command = std::process::Command::new("test");
    command.arg("-w").arg(dir).current_dir("/").uid(account.uid).gid(account.gid);
    command.status().is_ok_and(|status| status.success())
}

fn is_initialized(data: &Path) -> bool {
    data.join("PG_VERSION").exists()
}

/// Runs a command. If the command fails, returns an error with its standard error output.
async fn run(mut command: Command) -> Result<(), StackError> {
    let output = command.output().await.map_err(|error| {
        StackError::Postgres(format!("{}: {error}", command.as_std().get_program().display()))
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(StackError::Postgres(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn read_data_major(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifier_is_quoted() {
        assert_eq!(quote(r#"a"; drop table x; --"#), r#""a""; drop table x; --""#);
    }
}
