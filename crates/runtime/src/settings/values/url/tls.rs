//! The parameters of a connection URL for Postgres that concern TLS. They have the meaning that
//! libpq documents, but no default files: a file is used only if the URL names it.

use std::{borrow::Cow, fmt, fs, sync::Arc};

use rustls::{
    Error as TlsError, InconsistentKeys,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use secrecy::{ExposeSecret, SecretString};

use super::{Rule, postgres::remove_parameters};
use crate::settings::values::certificates::parse_pem;

/// The value of `sslrootcert` that means the certificate authorities of the operating system.
const SYSTEM: &str = "system";

const MODE_RULE: Rule = "sslmode must be disable, allow, prefer, require, verify-ca or verify-full";
const AUTHORITIES_RULE: Rule = "sslmode verify-ca and verify-full require sslrootcert: the path of \
     a file with certificates in PEM format, or (verify-full only) system";
const CERTIFICATES_RULE: &str = "the path of a file with certificates in PEM format";
const KEY_RULE: &str =
    "sslkey must be the path of a file with an unencrypted private key in PEM format";

/// Whether a connection to Postgres uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only if the server refuses a session without TLS.
    Allow,
    /// Unless the server does not support TLS, the TLS handshake fails, or the server refuses a
    /// session with TLS.
    #[default]
    Prefer,
    /// Always.
    Require,
    /// Always, and a trusted authority must have signed the certificate of the server.
    VerifyCa,
    /// Always, and a trusted authority must have signed the certificate of the server, which must
    /// contain the name of the host.
    VerifyFull,
}

impl SslMode {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }
}

/// The certificate authorities that may sign the certificate of Postgres.
#[derive(Debug, Clone)]
pub enum Authorities {
    /// The authorities that the operating system trusts.
    System,
    /// The authorities with these certificates.
    Certificates(Arc<[CertificateDer<'static>]>),
}

/// The use of TLS in connections to Postgres, with the contents of the files that the URL names.
#[derive(Debug, Clone)]
pub struct PostgresTls {
    /// Whether a connection uses TLS.
    pub mode: SslMode,
    /// The authorities with which the certificate of the server is verified. `None` means that the
    /// certificate is not verified.
    pub authorities: Option<Authorities>,
    /// The certificate that the client sends if the server requests one.
    pub client_certificate: Option<Arc<CertifiedKey>>,
}

impl PostgresTls {
    /// Separates the parameters that concern TLS from a connection URL, and reads the files that
    /// they name. Also returns the remaining URL, for a client library that does not support all of
    /// these parameters.
    ///
    /// # Errors
    /// The rule that a parameter violates.
    pub fn split_url(url: &SecretString) -> Result<(Self, SecretString), InvalidTlsParameter> {
        let mut parameters = TlsParameters::default();
        let rest =
            remove_parameters(url.expose_secret(), |name, value| parameters.record(name, value))?;
        Ok((parameters.read_files()?, rest.into()))
    }
}

/// A parameter of a connection URL that violates a rule. The rule does not contain the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidTlsParameter(Cow<'static, str>);

impl fmt::Display for InvalidTlsParameter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for InvalidTlsParameter {}

impl From<Rule> for InvalidTlsParameter {
    fn from(rule: Rule) -> Self {
        Self(rule.into())
    }
}

impl From<String> for InvalidTlsParameter {
    fn from(rule: String) -> Self {
        Self(rule.into())
    }
}

/// The parameters of one URL. An empty path means no file.
#[derive(Debug, Default)]
pub(super) struct TlsParameters {
    mode: Option<SslMode>,
    root_certificates: String,
    certificate: String,
    key: String,
}

impl TlsParameters {
    /// Records a parameter. Returns whether the parameter concerns TLS.
    pub(super) fn record(&mut self, name: &str, value: &str) -> Result<bool, Rule> {
        let path = match name {
            "sslmode" => {
                self.mode = Some(SslMode::parse(value).ok_or(MODE_RULE)?);
                return Ok(true);
            }
            "sslnegotiation" if value == "postgres" => return Ok(true),
            "sslnegotiation" => return Err("sslnegotiation must be postgres"),
            "sslrootcert" => &mut self.root_certificates,
            "sslcert" => &mut self.certificate,
            "sslkey" => &mut self.key,
            _ => return Ok(false),
        };
        value.clone_into(path);
        Ok(true)
    }

    /// Checks the combination of the parameters, and reads the files. Without TLS, no file is read.
    pub(super) fn read_files(&self) -> Result<PostgresTls, InvalidTlsParameter> {
        let mode = match (self.root_certificates.as_str(), self.mode) {
            (SYSTEM, None | Some(SslMode::VerifyFull)) => SslMode::VerifyFull,
            // Anyone can obtain a certificate from one of these authorities.
            (SYSTEM, Some(_)) => {
                return Err("sslrootcert=system requires sslmode=verify-full".into());
            }
            ("", Some(SslMode::VerifyCa | SslMode::VerifyFull)) => {
                return Err(AUTHORITIES_RULE.into());
            }
            (_, mode) => mode.unwrap_or_default(),
        };
        if mode == SslMode::Disable {
            return Ok(PostgresTls { mode, authorities: None, client_certificate: None });
        }
        let authorities = match self.root_certificates.as_str() {
            "" => None,
            SYSTEM => Some(Authorities::System),
            path => Some(Authorities::Certificates(read_certificates("sslrootcert", path)?.into())),
        };
        let client_certificate = match (self.certificate.as_str(), self.key.as_str()) {
            ("", "") => None,
            ("", _) | (_, "") => return Err("sslcert and sslkey must be set together".into()),
            (certificate, key) => Some(Arc::new(read_client_certificate(certificate, key)?)),
        };
        Ok(PostgresTls { mode, authorities, client_certificate })
    }
}

fn read_certificates(
    name: &str,
    path: &str,
) -> Result<Vec<CertificateDer<'static>>, InvalidTlsParameter> {
    let pem = fs::read(path).map_err(|error| {
        format!("{name} must be {CERTIFICATES_RULE}; the file cannot be read: {error}")
    })?;
    parse_pem(&pem).ok_or_else(|| {
        let found = "the file contains no certificate or an invalid one";
        format!("{name} must be {CERTIFICATES_RULE}; {found}").into()
    })
}

fn read_client_certificate(
    certificate: &str,
    key: &str,
) -> Result<CertifiedKey, InvalidTlsParameter> {
    let chain = read_certificates("sslcert", certificate)?;
    let pem =
        fs::read(key).map_err(|error| format!("{KEY_RULE}; the file cannot be read: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| format!("{KEY_RULE}; the file contains none"))?;
    let key = ring::default_provider().key_provider.load_private_key(key);
    let key = key.map_err(|_| format!("{KEY_RULE}; the type of the key is not supported"))?;
    let certified = CertifiedKey::new(chain, key);
    // The comparison fails for another reason if the certificate has an old format, which a server
    // may accept.
    match certified.keys_match() {
        Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("sslkey must be the key of the first certificate in sslcert".into())
        }
        _ => Ok(certified),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::CERTIFICATE;

    fn split(url: &str) -> Result<(PostgresTls, String), String> {
        let split = PostgresTls::split_url(&url.into());
        let (tls, rest) = split.map_err(|error| error.to_string())?;
        Ok((tls, rest.expose_secret().to_owned()))
    }

    #[test]
    fn parameters_of_tls_are_separated_from_the_others() {
        for (url, mode, rest) in [
            ("postgres://h/x", SslMode::Prefer, "postgres://h/x"),
            ("postgres://h/x?sslmode=disable", SslMode::Disable, "postgres://h/x"),
            (
                "postgres://u:p@a,b/x?options=-c%20a%3Db&sslmode=require&target_session_attrs=any",
                SslMode::Require,
                "postgres://u:p@a,b/x?options=-c%20a%3Db&target_session_attrs=any",
            ),
            ("postgres://h?sslmode=%61llow&user=me", SslMode::Allow, "postgres://h?user=me"),
            ("postgres://h?sslrootcert=system", SslMode::VerifyFull, "postgres://h"),
            (
                "postgres://h?sslnegotiation=postgres&sslcert=&sslkey=",
                SslMode::Prefer,
                "postgres://h",
            ),
        ] {
            let (tls, found) = split(url).expect(url);
            assert_eq!((tls.mode, found.as_str()), (mode, rest), "{url}");
            assert!(tls.client_certificate.is_none(), "{url}");
        }
    }

    #[test]
    fn file_with_authorities_is_read_unless_tls_is_disabled() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.pem");
        fs::write(&path, CERTIFICATE.repeat(2)).expect("a file");
        let path = path.to_str().expect("valid UTF-8");
        for mode in ["allow", "prefer", "require", "verify-ca", "verify-full"] {
            let (tls, _) =
                split(&format!("postgres://h?sslmode={mode}&sslrootcert={path}")).expect(mode);
            let Some(Authorities::Certificates(certificates)) = tls.authorities else {
                panic!("{mode}: {tls:?}");
            };
            assert_eq!(certificates.len(), 2, "{mode}");
        }
        let (tls, _) =
            split("postgres://h?sslmode=disable&sslrootcert=/nowhere").expect("an unused file");
        assert!(tls.authorities.is_none(), "{tls:?}");
    }

    #[test]
    fn violated_rule_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("a file");
            path.to_str().expect("valid UTF-8").to_owned()
        };
        let (certificate, text) = (file("ca.pem", CERTIFICATE), file("text", "x"));
        for (query, rule) in [
            ("sslmode=verify_full".to_owned(), MODE_RULE),
            ("sslmode=".to_owned(), MODE_RULE),
            ("sslmode=verify-ca".to_owned(), "require sslrootcert"),
            ("sslmode=verify-full".to_owned(), "require sslrootcert"),
            ("sslmode=verify-ca&sslrootcert=system".to_owned(), "requires sslmode=verify-full"),
            ("sslmode=prefer&sslrootcert=system".to_owned(), "requires sslmode=verify-full"),
            ("sslrootcert=/nowhere/ca.pem".to_owned(), "sslrootcert must be the path of a file"),
            ("sslrootcert=/nowhere/ca.pem".to_owned(), "the file cannot be read: No such file"),
            (format!("sslrootcert={text}"), "the file contains no certificate"),
            (format!("sslcert={certificate}"), "sslcert and sslkey must be set together"),
            (format!("sslkey={text}"), "sslcert and sslkey must be set together"),
            (format!("sslcert={certificate}&sslkey={text}"), "private key in PEM format"),
            ("sslnegotiation=direct".to_owned(), "sslnegotiation must be postgres"),
        ] {
            let error = split(&format!("postgres://h/x?{query}")).expect_err(&query);
            assert!(error.contains(rule), "{query}: {error}");
        }
    }
}
