//! A Postgres server for one test, with certificates.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, Command, Stdio},
};

use mayfly_stack::{ReservedPort, find_postgres_program, reserve_free_port};
use tokio_postgres::{Client, NoTls};

use super::certificates::{Certificates, run};
use crate::{DEFAULT_TIMEOUT, eventually};

/// The name of the superuser and of the database.
const POSTGRES: &str = "postgres";

/// A directory with the data of a server, and with certificates.
#[derive(Debug)]
pub struct PostgresCluster {
    /// The certificates. Postgres requires that the account of the server owns the keys.
    pub certificates: Certificates,
}

impl PostgresCluster {
    /// The password of the superuser `postgres`.
    pub const PASSWORD: &str = "hunter2-of-postgres";

    /// Creates the data of a server.
    ///
    /// # Panics
    /// If Postgres is not installed.
    #[must_use]
    pub fn create() -> Self {
        // Postgres refuses to run as root.
        let certificates = Certificates::create(Some(POSTGRES));
        let cluster = Self { certificates };
        let password = cluster.certificates.file("password");
        fs::write(&password, Self::PASSWORD).expect("a file");
        fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).expect("a file");
        let mut command = cluster.command(find_postgres_program("initdb").expect("Postgres"));
        command.args(["--pgdata", "data", "--username", POSTGRES, "--pwfile", "password"]);
        run(command.args(["--auth", "scram-sha-256", "--no-sync", "--no-instructions"]));
        cluster
    }

    /// Starts a server with a certificate, or without TLS, and with the rules of `pg_hba.conf` for
    /// connections over TCP. Returns when the server accepts connections. A cluster can have only
    /// one server at a time.
    ///
    /// # Panics
    /// If the server does not start.
    pub async fn start(&self, certificate: Option<&str>, rules: &str) -> PostgresServer {
        self.start_at("data", certificate, rules).await
    }

    /// Starts a server without TLS that is in hot standby mode and waits for a primary. Its data is
    /// a copy of the data of the cluster, whose server must not have been started yet.
    ///
    /// # Panics
    /// If the server does not start.
    pub async fn start_standby(&self, rules: &str) -> PostgresServer {
        run(self.command("cp").args(["-a", "data", "standby"]));
        run(self.command("touch").arg("standby/standby.signal"));
        self.start_at("standby", None, rules).await
    }

    async fn start_at(&self, data: &str, certificate: Option<&str>, rules: &str) -> PostgresServer {
        let rules = format!("local all all trust\n{rules}\n");
        fs::write(self.certificates.file("rules"), rules).expect("a file");
        let port = reserve_free_port().expect("a free port");
        let directory = self.certificates.file("");
        let directory = directory.display();
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", port.port),
            format!("unix_socket_directories={directory}"),
            format!("hba_file={directory}rules"),
            "fsync=off".to_owned(),
        ];
        if let Some(name) = certificate {
            settings.extend([
                "ssl=on".to_owned(),
                format!("ssl_cert_file={directory}{name}.pem"),
                format!("ssl_key_file={directory}{name}.key"),
                format!("ssl_ca_file={directory}ca.pem"),
            ]);
        }
        let mut command = self.command("sh");
        command.args(["-c", GUARD_SCRIPT, "guard"]);
        command.arg(find_postgres_program(POSTGRES).expect("Postgres")).args(["-D", data]);
        for setting in settings {
            command.args(["-c", &setting]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("Postgres starts");
        let socket = format!("host={directory} port={} user={POSTGRES}", port.port);
        let server = PostgresServer { process, port, socket };
        eventually(DEFAULT_TIMEOUT, "the server accepts connections", async || {
            server.try_connect().await.map(drop)
        })
        .await;
        server
    }

    /// Returns a command that runs in the directory as the account of the server.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.certificates.file(""));
        if let Some(account) = self.certificates.account() {
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        command
    }
}

/// A server that is stopped when this value is dropped or when the test process is killed.
#[derive(Debug)]
pub struct PostgresServer {
    process: Child,
    port: ReservedPort,
    /// The connection string of the Unix socket.
    socket: String,
}

impl PostgresServer {
    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.port
    }

    /// Returns the URL of the server under a host name, for the superuser, with parameters.
    #[must_use]
    pub fn url(&self, host: &str, parameters: &str) -> String {
        let (password, port) = (PostgresCluster::PASSWORD, self.port());
        format!("postgres://{POSTGRES}:{password}@{host}:{port}/{POSTGRES}?{parameters}")
    }

    /// Connects over the Unix socket, as the superuser.
    ///
    /// # Panics
    /// If the server does not respond.
    pub async fn connect(&self) -> Client {
        self.try_connect().await.expect("Postgres responds")
    }

    async fn try_connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.socket, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Closes the standard input of the shell, which stops the server.
        let _ = self.process.wait();
    }
}

/// A shell script that runs a program and stops it when the shell's standard input is closed.
/// SIGINT disconnects the clients of Postgres.
const GUARD_SCRIPT: &str = r#"exec 3<&0; "$@" </dev/null 3<&- & cat <&3; kill -INT $!; wait"#;
