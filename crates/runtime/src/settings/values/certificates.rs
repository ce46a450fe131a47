//! Files with certificates, and the description of certificates that are not accepted.

use std::{fmt, fs, sync::Arc};

use rustls::{
    CertificateError, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::{Deserializer, de::Error};

use super::parse_scalar;

/// Certificates in PEM format, read when the configuration is loaded.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificates {
    path: String,
    pem: Arc<[u8]>,
}

impl Certificates {
    /// Returns the certificates in PEM format.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.path).finish()
    }
}

/// Parses the path of a file with certificates, and reads the file. Empty text means no file.
pub(crate) fn file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Certificates>, D::Error> {
    const ALLOWED: &str = "empty, or the path of a file with certificates in PEM format";
    let path = parse_scalar(deserializer, ALLOWED, |value| value.as_text().map(str::to_owned))?;
    if path.is_empty() {
        return Ok(None);
    }
    let pem = fs::read(&path)
        .map_err(|error| D::Error::custom(format!("{ALLOWED}; it cannot be read: {error}")))?;
    if parse_pem(&pem).is_none() {
        return Err(D::Error::custom(format!(
            "{ALLOWED}; the file contains no certificate or an invalid one"
        )));
    }
    Ok(Some(Certificates { path, pem: pem.into() }))
}

/// Returns the certificates in `pem`, or `None` if there is no certificate, or if the TLS client
/// does not accept all of them.
pub(super) fn parse_pem(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.ok().filter(|found| !found.is_empty())?;
    let mut store = RootCertStore::empty();
    let is_valid = certificates.iter().all(|one| store.add(one.clone()).is_ok());
    is_valid.then_some(certificates)
}

/// Describes why the certificate of a server is not accepted. `authorities` is the setting with the
/// trusted certificate authorities, such as `redis.ca_file`.
pub fn describe_rejected_certificate(cause: &CertificateError, authorities: &str) -> String {
    let cause = match cause {
        CertificateError::UnknownIssuer => {
            format!("it is not signed by an authority in {authorities}")
        }
        // The certificate expires before it becomes valid.
        CertificateError::Expired => "it has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let seconds = time.as_secs().saturating_sub(not_after.as_secs());
            format!("it expired {seconds} s ago")
        }
        CertificateError::Other(cause) => cause.to_string(),
        cause => cause.to_string(),
    };
    format!("the certificate of the server is not accepted: {cause}")
}

#[cfg(test)]
mod tests {
    use super::parse_pem;
    use crate::settings::tests::CERTIFICATE;

    #[test]
    fn file_contains_valid_certificates() {
        let count = |text: &str| parse_pem(text.as_bytes()).map(|found| found.len());
        assert_eq!(count(CERTIFICATE), Some(1));
        assert_eq!(count(&CERTIFICATE.repeat(2)), Some(2));
        let (cut, changed) = (&CERTIFICATE[..200], CERTIFICATE.replace("MIIB", "AAAA"));
        for text in ["", "x", cut, &changed] {
            assert_eq!(count(text), None, "{text}");
        }
    }
}
