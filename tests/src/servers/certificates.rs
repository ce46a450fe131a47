//! Certificates for servers that accept connections over TLS, created with OpenSSL.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
};

use mayfly_stack::find_tool;
use nix::unistd::{User, geteuid};
use tempfile::TempDir;

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// A directory with certificates and their keys.
#[derive(Debug)]
pub struct Certificates {
    directory: TempDir,
    /// The account that owns the keys.
    account: Option<User>,
}

impl Certificates {
    /// Creates an empty directory. If the tests run as root, `account` owns the directory and the
    /// keys.
    ///
    /// # Panics
    /// If the account does not exist or the directory cannot be created.
    #[must_use]
    pub fn create(account: Option<&str>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let account = account.filter(|_| geteuid().is_root()).map(|name| {
            let found = User::from_name(name).expect("readable accounts");
            found.expect("the package of the server creates the account")
        });
        let certificates = Self { directory, account };
        certificates.give(certificates.directory.path());
        certificates
    }

    /// Returns the path of a file in the directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces `$` by the path of the directory.
    #[must_use]
    pub fn expand(&self, text: &str) -> String {
        text.replace('$', &self.file("").display().to_string())
    }

    /// Creates a self-signed certificate `<file>.pem` and its key `<file>.key`. With the default
    /// extensions of OpenSSL, it is the certificate of an authority.
    ///
    /// # Panics
    /// If OpenSSL fails.
    pub fn create_self_signed(&self, file: &str, name: &str, extension: &str) {
        self.openssl(&format!(
            "req -x509 {NEW_KEY} -keyout {file}.key -out {file}.pem -subj /CN={name} -days 2 \
             {extension}"
        ));
        self.give(&self.file(&format!("{file}.key")));
    }

    /// Creates a certificate `<file>.pem` that the authority `ca` signed, and its key. Without
    /// alternative names, the certificate has version 1.
    ///
    /// # Panics
    /// If OpenSSL fails.
    pub fn create_signed(&self, file: &str, name: &str, alternatives: &str, days: i32) {
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

    pub(super) fn account(&self) -> Option<&User> {
        self.account.as_ref()
    }

    /// Makes the account the owner of a file.
    fn give(&self, path: &Path) {
        if let Some(account) = &self.account {
            let (user, group) = (account.uid.as_raw(), account.gid.as_raw());
            chown(path, Some(user), Some(group)).expect("root may change the owner");
        }
    }
}

/// Runs a program and checks that it succeeds.
pub(super) fn run(command: &mut Command) {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
