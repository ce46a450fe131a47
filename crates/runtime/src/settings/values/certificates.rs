//! Files with certificates.

use std::{fmt, fs, sync::Arc};

use rustls::{
    RootCertStore,
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
    if !has_certificates(&pem) {
        return Err(D::Error::custom(format!(
            "{ALLOWED}; the file contains no certificate or an invalid one"
        )));
    }
    Ok(Some(Certificates { path, pem: pem.into() }))
}

/// Returns whether `pem` contains at least one certificate, and the TLS client accepts all
/// certificates in `pem`.
fn has_certificates(pem: &[u8]) -> bool {
    let mut store = RootCertStore::empty();
    let is_valid = CertificateDer::pem_slice_iter(pem)
        .all(|certificate| certificate.is_ok_and(|certificate| store.add(certificate).is_ok()));
    is_valid && !store.is_empty()
}

#[cfg(test)]
mod tests {
    use super::has_certificates;
    use crate::settings::tests::CERTIFICATE;

    #[test]
    fn file_contains_valid_certificates() {
        assert!(has_certificates(CERTIFICATE.as_bytes()));
        assert!(has_certificates(CERTIFICATE.repeat(2).as_bytes()));
        let (cut, changed) = (&CERTIFICATE[..200], CERTIFICATE.replace("MIIB", "AAAA"));
        for text in ["", "x", cut, &changed] {
            assert!(!has_certificates(text.as_bytes()), "{text}");
        }
    }
}
