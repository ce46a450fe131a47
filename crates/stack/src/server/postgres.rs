//! The stack's own Postgres.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use tokio::process::Command;

use crate::error::StackError;
use crate::instance::{Instance, Part};
use crate::paths::{Paths, create_dir};
use crate::probe::Probe;
use crate::process::{Account, Ending, Launch, end_holder, kept_environment, leash};
use crate::server::postgres_binaries::PostgresBinaries;

const ENDING: Ending = Ending {
    // A fast shutdown: connections are ended, and everything is written.
    ask: Signal::SIGINT,
    within: Duration::from_secs(60),
    // An immediate one: it ends its own children, and repairs itself at the next start.
    hurry: Signal::SIGQUIT,
    orphaned: Signal::SIGQUIT,
};

/// The user and the database of the stack.
const NAME: &str = "mayfly";

/// The database that every fresh Postgres has.
const FIRST_DATABASE: &str = "postgres";

/// Where Postgres keeps its data, and who it runs as.
#[derive(Debug)]
pub(crate) struct Postgres {
    binaries: PostgresBinaries,
    data: PathBuf,
    account: Option<Account>,
    durable: bool,
}

impl Postgres {
    /// Finds the programs, and makes the data directory if there is none yet.
    pub(crate) async fn set_up(paths: &Paths, durable: bool) -> Result<Self, StackError> {
        let account = find_account()?;
        let place = find_place(paths, account)?;
        let data = place.join("data");
        let binaries = PostgresBinaries::find(read_data_major(&data))?;
        let postgres = Self { binaries, data, account, durable };
        if !postgres.data.join("PG_VERSION").exists() {
            postgres.make_data().await?;
        }
        Ok(postgres)
    }

    /// Ends the Postgres of an earlier supervisor on this data, and takes away a lock that no process holds any more.
    pub(crate) async fn clear_lock(&self) {
        let lock = self.data.join("postmaster.pid");
        end_holder(&lock, &self.data.display().to_string()).await;
        let _absent = fs::remove_file(lock);
    }

    /// Makes the data beside its place and moves it there when it is whole, so that half of it is never taken for all.
    async fn make_data(&self) -> Result<(), StackError> {
        let new = self.data.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new).map_err(StackError::io(&new))?;
        }
        let mut command = self.command("initdb");
        command.arg("--pgdata").arg(&new).args([
            "--username",
            NAME,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        if !self.durable {
            command.arg("--no-sync");
        }
        let made =
            command.output().await.map_err(StackError::io(self.binaries.program("initdb")))?;
        if !made.status.success() {
            return Err(StackError::Postgres(
                String::from_utf8_lossy(&made.stderr).trim().to_owned(),
            ));
        }
        fs::rename(&new, &self.data).map_err(StackError::io(&self.data))
    }

    /// Says how Postgres is started.
    pub(crate) fn launch(&self, paths: &Paths, port: u16) -> Launch {
        let instance = Instance::first(Part::Postgres);
        Launch {
            program: self.binaries.program("postgres"),
            args: self.args(port),
            env: BTreeMap::new(),
            // Wherever the caller is, this user may not.
            dir: PathBuf::from("/"),
            account: self.account,
            ports: vec![port],
            log: paths.log(instance),
            pid_file: paths.pid(instance),
            mark: self.data.display().to_string(),
            probe: Probe::Postgres(database_url(port, FIRST_DATABASE)),
            ending: ENDING,
            alone_in: Some(self.data.clone()),
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

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.program(program));
        command
            .env_clear()
            .envs(kept_environment())
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        leash(&mut command, Signal::SIGKILL);
        command
    }
}

/// The address of a database of the stack's own Postgres.
pub(crate) fn database_url(port: u16, database: &str) -> String {
    format!("postgres://{NAME}@127.0.0.1:{port}/{database}")
}

/// The address of the database that the services share.
pub(crate) fn main_database_url(port: u16) -> String {
    database_url(port, NAME)
}

/// Makes the database of the services if it is not there.
pub(crate) async fn create_main_database(port: u16) -> Result<(), StackError> {
    let url = database_url(port, FIRST_DATABASE);
    let known = query(&url, &format!("select 1 from pg_database where datname = '{NAME}'")).await?;
    if known == 0 { create_database(&url, NAME, None).await } else { Ok(()) }
}

/// Makes a database on the server at `url`, empty or as a copy of a template that nobody is connected to.
pub(crate) async fn create_database(
    url: &str,
    name: &str,
    template: Option<&str>,
) -> Result<(), StackError> {
    let template = template.unwrap_or("template1");
    query(url, &format!("create database {} template {}", quote(name), quote(template)))
        .await
        .map(drop)
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Runs one statement and returns how many rows it brought.
async fn query(url: &str, statement: &str) -> Result<usize, StackError> {
    let refused =
        |error: tokio_postgres::Error| StackError::Postgres(format!("{statement}: {error}"));
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(refused)?;
    let connection = tokio::spawn(connection);
    let messages = client.simple_query(statement).await.map_err(refused);
    drop(client);
    // The server lets go of the database only when the connection is closed; a copy of it needs that.
    let _closed = connection.await;
    Ok(messages?
        .iter()
        .filter(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_)))
        .count())
}

/// Postgres refuses to run as root; then it runs as the user that its package makes.
fn find_account() -> Result<Option<Account>, StackError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let user = User::from_name("postgres").ok().flatten().ok_or_else(|| {
        StackError::Missing(
            "Postgres does not run as root, and there is no user `postgres` to run it as"
                .to_owned(),
        )
    })?;
    Ok(Some(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
}

/// Returns the directory for Postgres: in the checkout, or elsewhere when its user cannot reach that.
fn find_place(paths: &Paths, account: Option<Account>) -> Result<PathBuf, StackError> {
    let here = paths.postgres();
    make_place(&here, account)?;
    if account.is_none_or(|account| can_write(&here, account)) {
        return Ok(here);
    }
    let elsewhere = paths.elsewhere();
    create_dir(&elsewhere, 0o755)?;
    let owner = elsewhere.join("checkout");
    fs::write(&owner, paths.root().display().to_string()).map_err(StackError::io(&owner))?;
    let place = elsewhere.join("postgres");
    make_place(&place, account)?;
    Ok(place)
}

fn make_place(place: &Path, account: Option<Account>) -> Result<(), StackError> {
    create_dir(place, 0o700)?;
    match account {
        Some(account) => {
            chown(place, Some(account.uid), Some(account.gid)).map_err(StackError::io(place))
        }
        None => Ok(()),
    }
}

/// Tries it as that user: nothing else knows of every kind of right.
fn can_write(dir: &Path, account: Account) -> bool {
    use std::os::unix::process::CommandExt as _;
    let mut command = std::process::Command::new("test");
    command.arg("-w").arg(dir).current_dir("/").uid(account.uid).gid(account.gid);
    command.status().is_ok_and(|status| status.success())
}

fn read_data_major(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_name_whatever_is_in_it() {
        assert_eq!(quote(r#"a"; drop table x; --"#), r#""a""; drop table x; --""#);
    }
}
