//! A Postgres server for one test, and the certificates for it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use mayfly_stack::{ReservedPort, find_postgres_program, find_tool, reserve_free_port};
use nix::unistd::{User, geteuid};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::wait_until;

/// The name of the superuser and of the database.
pub(super) const POSTGRES: &str = "postgres";
/// The password of the superuser.
pub(super) const PASSWORD: &str = "hunter2";

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// A directory with the data of a server, and with certificates.
pub(super) struct Cluster {
    directory: TempDir,
    /// The account of the server if the tests run as root, which Postgres refuses.
    account: Option<User>,
}

impl Cluster {
    pub(super) fn create() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let account = geteuid().is_root().then(|| {
            let found = User::from_name(POSTGRES).expect("readable accounts");
            found.expect("the package of Postgres creates the account")
        });
        let cluster = Self { directory, account };
        cluster.give(cluster.directory.path());
        fs::write(cluster.file("password"), PASSWORD).expect("a file");
        fs::set_permissions(cluster.file("password"), fs::Permissions::from_mode(0o644))
            .expect("a file");
        let mut command = cluster.command(find_postgres_program("initdb").expect("Postgres"));
        command.args(["--pgdata", "data", "--username", POSTGRES, "--pwfile", "password"]);
        run(command.args(["--auth", "scram-sha-256", "--no-sync", "--no-instructions"]));
        cluster
    }

    /// Returns the path of a file in the directory.
    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces `$` by the path of the directory.
    pub(super) fn expand(&self, text: &str) -> String {
        text.replace('$', &self.file("").display().to_string())
    }

    /// Creates a self-signed certificate `<file>.pem` and its key `<file>.key`. With the default
    /// extensions of OpenSSL, it is the certificate of an authority.
    pub(super) fn create_self_signed(&self, file: &str, name: &str, extension: &str) {
        self.openssl(&format!(
            "req -x509 {NEW_KEY} -keyout {file}.key -out {file}.pem -subj /CN={name} -days 2 \
             {extension}"
        ));
        self.give(&self.file(&format!("{file}.key")));
    }

    /// Creates a certificate `<file>.pem` that the authority `ca` signed, and its key. Without
    /// alternative names, the certificate has version 1.
    pub(super) fn create_signed(&self, file: &str, name: &str, alternatives: &str, days: i32) {
        self.openssl(&format!("req {NEW_KEY} -keyout {file}.key -out {file}.csr -subj /CN={name}"));
        fs::write(self.file("names"), format!("subjectAltName={alternatives}\n")).expect("a file");
        let names = if alternatives.is_empty() { "" } else { "-extfile names" };
        self.openssl(&format!(
            "x509 -req -in {file}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {file}.pem \
             -days {days} {names}"
        ));
        self.give(&self.file(&format!("{file}.key")));
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new(find_tool("openssl").expect("openssl is installed"));
        run(command.args(arguments.split_whitespace()).current_dir(self.directory.path()));
    }

    /// Makes the account of the server the owner of a file.
    fn give(&self, path: &Path) {
        if let Some(account) = &self.account {
            let (user, group) = (account.uid.as_raw(), account.gid.as_raw());
            chown(path, Some(user), Some(group)).expect("root may change the owner");
        }
    }

    /// Starts a server with a certificate, or without TLS, and with the rules of `pg_hba.conf` for
    /// connections over TCP. Returns when the server accepts connections.
    pub(super) async fn start(&self, certificate: Option<&str>, rules: &str) -> Server {
        self.start_at("data", certificate, rules).await
    }

    /// Starts a server without TLS that is in hot standby mode and waits for a primary. Its data is
    /// a copy of the data of the cluster, whose server must not have been started yet.
    pub(super) async fn start_standby(&self, rules: &str) -> Server {
        run(self.command("cp").args(["-a", "data", "standby"]));
        run(self.command("touch").arg("standby/standby.signal"));
        self.start_at("standby", None, rules).await
    }

    async fn start_at(&self, data: &str, certificate: Option<&str>, rules: &str) -> Server {
        let rules = format!("local all all trust\n{rules}\n");
        fs::write(self.file("rules"), rules).expect("a file");
        let port = reserve_free_port().expect("a free port");
        let directory = self.directory.path().display();
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", port.port),
            format!("unix_socket_directories={directory}"),
            format!("hba_file={directory}/rules"),
            "fsync=off".to_owned(),
        ];
        if let Some(name) = certificate {
            settings.extend([
                "ssl=on".to_owned(),
                format!("ssl_cert_file={directory}/{name}.pem"),
                format!("ssl_key_file={directory}/{name}.key"),
                format!("ssl_ca_file={directory}/ca.pem"),
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
        let server = Server { process, port, socket };
        wait_until("the server accepts connections", async || server.try_connect().await.is_ok())
            .await;
        server
    }

    /// Returns a command that runs in the directory as the account of the server.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path());
        if let Some(account) = &self.account {
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        command
    }
}

/// A server that is stopped when this value is dropped or when the test process is killed.
pub(super) struct Server {
    process: Child,
    pub(super) port: ReservedPort,
    /// The connection string of the Unix socket.
    socket: String,
}

impl Server {
    /// Connects over the Unix socket, as the superuser.
    pub(super) async fn connect(&self) -> Client {
        self.try_connect().await.expect("Postgres responds")
    }

    async fn try_connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.socket, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Closes the standard input of the shell, which stops the server.
        let _ = self.process.wait();
    }
}

/// A shell script that runs a program and stops it when the shell's standard input is closed.
/// SIGINT disconnects the clients of Postgres.
const GUARD_SCRIPT: &str = r#"exec 3<&0; "$@" </dev/null 3<&- & cat <&3; kill -INT $!; wait"#;

fn run(command: &mut Command) {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
