//! Connections over TLS.

use mayfly_core::StateFeed;
use mayfly_hot::{HotError, HotStore};
use mayfly_tests::{Certificates, TlsRedis};

use crate::TestStore;

/// Creates certificates of the authority `ca`, and the unrelated authority `other`.
fn create_certificates() -> Certificates {
    let certificates = Certificates::create(None);
    certificates.create_self_signed("ca", "authority", "");
    certificates.create_self_signed("other", "other", "");
    certificates.create_signed("server", "server", "IP:127.0.0.1", 2);
    certificates.create_signed("misnamed", "server", "DNS:redis.example.org", 2);
    certificates.create_signed("expired", "server", "IP:127.0.0.1", -1);
    certificates
}

async fn call(hot: &HotStore) -> Result<(), HotError> {
    hot.snapshots().find_state(StateFeed::Stats).await.map(drop)
}

#[tokio::test]
async fn server_is_verified_with_the_configured_authority() {
    let certificates = create_certificates();
    let store = |server: &TlsRedis, scheme: &str, authority: &str| {
        let authority = certificates.expand(authority);
        let settings = [("MAYFLY_REDIS__CA_FILE", authority.as_str())];
        TestStore::create_store(&server.url(scheme), "mayfly", &settings)
    };
    for (certificate, authority, cause) in [
        ("server", "$ca.pem", ""),
        ("server", "$other.pem", "it is not signed by an authority in redis.ca_file"),
        // The operating system does not know the authority.
        ("server", "", "it is not signed by an authority in redis.ca_file"),
        ("misnamed", "$ca.pem", "certificate not valid for name \"127.0.0.1\""),
        ("expired", "$ca.pem", "it has expired"),
    ] {
        let server = TlsRedis::start(&certificates, certificate).await;
        let called = call(&store(&server, "rediss", authority)).await;
        if cause.is_empty() {
            called.expect(certificate);
            continue;
        }
        let error = called.expect_err(certificate);
        assert!(matches!(error, HotError::Unavailable(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("the certificate of the server is not accepted: "), "{text}");
        assert!(text.contains(cause) && !text.contains(TlsRedis::PASSWORD), "{text}");
    }
}

#[tokio::test]
async fn server_that_requires_tls_is_unavailable_without_it() {
    let certificates = create_certificates();
    let server = TlsRedis::start(&certificates, "server").await;
    let error = call(&TestStore::create_store(&server.url("redis"), "mayfly", &[])).await;
    let error = error.expect_err("TLS is required");
    assert!(!error.to_string().contains(TlsRedis::PASSWORD), "{error}");
}
