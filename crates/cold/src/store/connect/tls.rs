//! TLS sessions with Postgres: the settings of the TLS client and the verification of the server.

use std::{io, sync::Arc};

use mayfly_core::Timestamp;
use mayfly_runtime::settings::{Authorities, PostgresTls, SslMode, describe_rejected_certificate};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{
        WebPkiSupportedAlgorithms, ring, verify_tls12_signature,
        verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::ParsedCertificate,
    sign::SingleCertAndKey,
};

use super::certificate;

/// Creates the settings of the TLS client.
///
/// # Errors
/// The operating system trusts no certificate authority although the URL requests its authorities.
pub(super) fn create_client(tls: &PostgresTls) -> Result<ClientConfig, &'static str> {
    let provider = ring::default_provider();
    let verifier = ServerVerifier {
        trusted: tls.authorities.as_ref().map(Trusted::load).transpose()?,
        checks_name: tls.mode == SslMode::VerifyFull,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("invariant: the provider supports the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut client = match &tls.client_certificate {
        Some(certificate) => builder
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certificate)))),
        None => builder.with_no_client_auth(),
    };
    // Postgres does not resume TLS sessions.
    client.resumption = Resumption::disabled();
    Ok(client)
}

/// The trusted certificates.
#[derive(Debug)]
struct Trusted {
    authorities: RootCertStore,
    /// The certificates of `sslrootcert`. Such a certificate is also trusted if the server presents
    /// it as its own: a self-signed certificate of a server is not the certificate of an authority.
    servers: Arc<[CertificateDer<'static>]>,
}

impl Trusted {
    fn load(authorities: &Authorities) -> Result<Self, &'static str> {
        let mut store = RootCertStore::empty();
        let servers = match authorities {
            Authorities::System => {
                let found = rustls_native_certs::load_native_certs();
                let (trusted, _) = store.add_parsable_certificates(found.certs);
                if trusted == 0 {
                    return Err("sslrootcert=system: the operating system has no certificates");
                }
                Arc::default()
            }
            Authorities::Certificates(certificates) => {
                store.add_parsable_certificates(certificates.iter().cloned());
                Arc::clone(certificates)
            }
        };
        Ok(Self { authorities: store, servers })
    }
}

/// The verification of a server. Unlike the verifier of the TLS library, it can skip the
/// verification of the name or of the certificate, which some values of `sslmode` require.
#[derive(Debug)]
struct ServerVerifier {
    /// `None`: every certificate is accepted.
    trusted: Option<Trusted>,
    checks_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        let parsed = ParsedCertificate::try_from(certificate)?;
        if trusted.servers.iter().any(|server| server.as_ref() == certificate.as_ref()) {
            check_validity(certificate, now)?;
        } else {
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &trusted.authorities,
                intermediates,
                now,
                self.algorithms.all,
            )
            .map_err(|error| match error {
                // Another authority with the same name signed the certificate.
                TlsError::InvalidCertificate(CertificateError::BadSignature) => {
                    CertificateError::UnknownIssuer.into()
                }
                error => error,
            })?;
        }
        if self.checks_name {
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        // The library reads the key only from certificates of version 3. Without verification,
        // older versions are accepted too: many servers have a certificate of version 1.
        let fields = certificate::Fields::parse(certificate);
        let fields = fields.ok_or(CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(fields.public_key);
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks that a certificate has not expired and is already valid.
fn check_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), TlsError> {
    let fields = certificate::Fields::parse(certificate);
    let fields = fields.ok_or(CertificateError::BadEncoding)?;
    let seconds = |at: Timestamp| UnixTime::since_unix_epoch(at.since(Timestamp::from_millis(0)));
    let (not_before, not_after) = (seconds(fields.not_before), seconds(fields.not_after));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    Ok(())
}

/// Describes why a handshake failed.
pub(super) fn describe_failure(error: &io::Error) -> String {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<TlsError>()) {
        Some(TlsError::InvalidCertificate(cause)) => {
            describe_rejected_certificate(cause, "sslrootcert")
        }
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}
