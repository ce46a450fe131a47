//! The API key or the token that a command sends to the services.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::HeaderValue;

/// The maximum length of a key or token, in bytes. The services reject longer ones.
const SECRET_BYTES_MAX: usize = 8 * 1024;
/// The maximum number of bytes that are read from a key file.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// An API key or a token, as the value of an `Authorization` header. The debug output does not
/// contain the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    header: HeaderValue,
}

/// A file that contains an API key or a token. A secret on the command line would be visible to
/// other users of the machine, and would be stored in the history of the shell.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
    credentials: Credentials,
}

/// The error for a key file without valid credentials.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKeyFile {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The file does not contain exactly one API key or token.
    #[error("{} must contain one API key or one token, and nothing else", .path.display())]
    Malformed {
        /// The path of the file.
        path: PathBuf,
    },
}

impl Credentials {
    /// Creates credentials from the text of an API key or a token. Surrounding white space is
    /// removed. Returns `None` if the rest is empty, too long or contains characters that occur in
    /// neither.
    pub fn parse(text: &str) -> Option<Self> {
        let secret = text.trim();
        let is_valid = (1..=SECRET_BYTES_MAX).contains(&secret.len())
            && secret.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_valid {
            return None;
        }
        let mut header = HeaderValue::try_from(format!("Bearer {secret}")).ok()?;
        header.set_sensitive(true);
        Some(Self { header })
    }

    /// Returns the value of the `Authorization` header.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }
}

impl KeyFile {
    /// Reads a key file.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, InvalidKeyFile> {
        let path = path.into();
        let credentials = read_credentials(&path)?;
        Ok(Self { path, credentials })
    }

    /// Returns the credentials that were read last.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Reads the file again, because another program may have renewed a token, and returns the
    /// credentials. If the file does not contain valid credentials, for example while it is being
    /// written, or is a pipe, returns those that were read before.
    pub fn refresh(&mut self) -> &Credentials {
        if self.path.is_file()
            && let Ok(credentials) = read_credentials(&self.path)
        {
            self.credentials = credentials;
        }
        &self.credentials
    }
}

impl FromStr for KeyFile {
    type Err = InvalidKeyFile;

    fn from_str(path: &str) -> Result<Self, InvalidKeyFile> {
        Self::read(path)
    }
}

fn read_credentials(path: &Path) -> Result<Credentials, InvalidKeyFile> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| InvalidKeyFile::Unreadable { path: path.to_path_buf(), error })?;
    Credentials::parse(&text).ok_or_else(|| InvalidKeyFile::Malformed { path: path.to_path_buf() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn credentials_contain_one_key_or_token_and_do_not_print_it() {
        let credentials = Credentials::parse(" mf_id_secret\n").expect("a key");
        assert_eq!(credentials.header(), "Bearer mf_id_secret");
        assert!(!format!("{credentials:?}").contains("secret"), "{credentials:?}");
        for invalid in ["", " \n", "one two", "one\ntwo", "k\u{e9}y", "key\u{7f}"] {
            assert_eq!(Credentials::parse(invalid), None, "{invalid:?}");
        }
        assert!(Credentials::parse(&"x".repeat(SECRET_BYTES_MAX)).is_some());
        assert_eq!(Credentials::parse(&"x".repeat(SECRET_BYTES_MAX + 1)), None);
    }

    #[test]
    fn renewed_file_is_read_again_and_an_incomplete_one_is_ignored() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("key");
        fs::write(&path, "first\n").expect("written");
        let mut file = KeyFile::read(&path).expect("a valid file");
        assert_eq!(file.credentials().header(), "Bearer first");
        for (content, expected) in [("second", "Bearer second"), ("", "Bearer second")] {
            fs::write(&path, content).expect("written");
            assert_eq!(file.refresh().header(), expected);
        }
        fs::remove_file(&path).expect("removed");
        assert_eq!(file.refresh().header(), "Bearer second");
    }

    #[test]
    fn errors_name_the_file_but_not_its_content() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("key");
        let error = KeyFile::read(&path).expect_err("the file is missing").to_string();
        assert!(error.starts_with(&format!("cannot read {}: ", path.display())), "{error}");
        fs::write(&path, "two secrets").expect("written");
        let error = KeyFile::read(&path).expect_err("two words").to_string();
        assert!(error.contains("must contain one API key or one token"), "{error}");
        assert!(!error.contains("secrets"), "{error}");
    }
}
