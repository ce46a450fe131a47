//! Connections over TLS. The parameters of the URL have the meaning that libpq documents.

use std::time::Duration;

use mayfly_cold::{ColdAccess, ColdStore, migrations};
use mayfly_runtime::settings::PostgresSettings;
use mayfly_tests::{PostgresCluster, PostgresServer};

use crate::wait_until;

/// Longer than a test waits for an event.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Accepts only sessions with TLS.
const TLS_ONLY: &str = "hostssl all all 127.0.0.1/32 scram-sha-256";
/// Accepts only sessions without TLS.
const PLAIN_ONLY: &str = "hostnossl all all 127.0.0.1/32 scram-sha-256";
/// Accepts all sessions.
const ANY: &str = "host all all 127.0.0.1/32 scram-sha-256";

fn store(url: String) -> ColdStore {
    let url = url.into();
    ColdStore::for_requests(&PostgresSettings { url, pool_size_max: 2, timeout: TIMEOUT })
}

/// Returns the cause that `/readyz` shows, or an empty text if the session is accepted.
async fn check(url: String) -> String {
    store(url).check_access(ColdAccess::Migrate).await.err().unwrap_or_default()
}

/// A host, the parameters of a URL (`$` is the directory of the certificates), and a part of the
/// cause if the session is refused.
type Case = (&'static str, &'static str, &'static str);

async fn check_all(
    cluster: &PostgresCluster,
    certificate: Option<&str>,
    rules: &str,
    cases: &[Case],
) {
    let server = cluster.start(certificate, rules).await;
    for &(host, parameters, expected) in cases {
        let parameters = cluster.certificates.expand(parameters);
        let outcome = check(server.url(host, &parameters)).await;
        let case = format!("{certificate:?}, {host}, {parameters}: {outcome:?}");
        assert_eq!(outcome.is_empty(), expected.is_empty(), "{case}");
        assert!(outcome.contains(expected), "{case}");
        assert!(!outcome.contains(PostgresCluster::PASSWORD), "{case}");
    }
}

const IP: &str = "127.0.0.1";
/// A name in the certificate of the server.
const NAME: &str = "db.example.org";
const OTHER_NAME: &str = "other.example.org";

const UNTRUSTED: &str = "not signed by an authority in sslrootcert";
const WRONG_NAME: &str = "certificate not valid for name \"other.example.org\"";

#[tokio::test(flavor = "multi_thread")]
async fn mode_determines_which_servers_are_accepted() {
    let cluster = PostgresCluster::create();
    cluster.certificates.create_self_signed("ca", "authority", "");
    cluster.certificates.create_self_signed("other", "other", "");
    // An authority with the same name and another key.
    cluster.certificates.create_self_signed("namesake", "authority", "");
    let names = "DNS:db.example.org,IP:127.0.0.1";
    cluster.certificates.create_signed("server", "server", names, 2);
    cluster.certificates.create_signed("expired", "server", names, -1);
    cluster.certificates.create_signed("old", NAME, "", 2);
    cluster.certificates.create_self_signed(
        "self",
        "server",
        &format!("-addext subjectAltName={names}"),
    );

    let cases = [
        (IP, "sslmode=disable", "no pg_hba.conf entry"),
        (IP, "sslmode=allow", ""),
        (IP, "sslmode=prefer", ""),
        (IP, "", ""),
        (IP, "sslmode=require", ""),
        (IP, "sslmode=allow&sslrootcert=$other.pem", UNTRUSTED),
        (IP, "sslmode=prefer&sslrootcert=$other.pem", UNTRUSTED),
        (IP, "sslmode=require&sslrootcert=$ca.pem", ""),
        (IP, "sslmode=require&sslrootcert=$other.pem", UNTRUSTED),
        (IP, "sslmode=verify-ca&sslrootcert=$ca.pem", ""),
        (IP, "sslmode=verify-ca&sslrootcert=$other.pem", UNTRUSTED),
        (IP, "sslmode=verify-ca&sslrootcert=$namesake.pem", UNTRUSTED),
        (IP, "sslmode=verify-full&sslrootcert=$ca.pem", ""),
        (IP, "sslmode=verify-full&sslrootcert=$other.pem", UNTRUSTED),
        (IP, "sslmode=verify-full&sslrootcert=system", UNTRUSTED),
        (NAME, "hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=$ca.pem", ""),
        (OTHER_NAME, "hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=$ca.pem", WRONG_NAME),
        (OTHER_NAME, "hostaddr=127.0.0.1&sslmode=verify-ca&sslrootcert=$ca.pem", ""),
        (OTHER_NAME, "hostaddr=127.0.0.1&sslmode=require", ""),
    ];
    check_all(&cluster, Some("server"), TLS_ONLY, &cases).await;
    let cases = [
        (IP, "sslmode=require", ""),
        (IP, "sslmode=require&sslrootcert=$ca.pem", "expired"),
        (IP, "sslmode=verify-ca&sslrootcert=$ca.pem", "expired"),
        (IP, "sslmode=verify-full&sslrootcert=$ca.pem", "expired"),
    ];
    check_all(&cluster, Some("expired"), TLS_ONLY, &cases).await;
    // A self-signed certificate is trusted if `sslrootcert` contains it.
    let cases = [
        (IP, "sslmode=require", ""),
        (IP, "sslmode=verify-full&sslrootcert=$self.pem", ""),
        (OTHER_NAME, "hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=$self.pem", WRONG_NAME),
        (IP, "sslmode=verify-ca&sslrootcert=$ca.pem", "not accepted"),
    ];
    check_all(&cluster, Some("self"), TLS_ONLY, &cases).await;
    // Certificates of version 1 cannot be verified.
    let cases = [
        (IP, "sslmode=require", ""),
        (IP, "sslmode=verify-ca&sslrootcert=$ca.pem", "UnsupportedCertVersion"),
    ];
    check_all(&cluster, Some("old"), TLS_ONLY, &cases).await;
    let no_tls = "with TLS: the server does not support TLS";
    let cases = [
        (IP, "sslmode=disable", ""),
        (IP, "sslmode=allow", ""),
        (IP, "sslmode=prefer", ""),
        (IP, "sslmode=prefer&sslrootcert=$ca.pem", ""),
        (IP, "sslmode=require", no_tls),
        (IP, "sslmode=verify-ca&sslrootcert=$ca.pem", no_tls),
        (IP, "sslmode=verify-full&sslrootcert=$ca.pem", no_tls),
    ];
    check_all(&cluster, None, ANY, &cases).await;
}

/// Returns whether the sessions with an application name use TLS.
async fn find_encryption(server: &PostgresServer, application: &str) -> Vec<bool> {
    let sessions = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = $1";
    let rows = server.connect().await.query(sessions, &[&application]).await.expect("valid SQL");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn session_uses_tls_as_the_mode_prefers() {
    let cluster = PostgresCluster::create();
    cluster.certificates.create_self_signed("ca", "authority", "");
    let server = cluster.start(Some("ca"), ANY).await;
    for (application, mode, expected) in [
        ("a", "disable", false),
        ("b", "allow", false),
        ("c", "prefer", true),
        ("d", "require", true),
    ] {
        let parameters = format!("application_name={application}&sslmode={mode}");
        let store = store(server.url(IP, &parameters));
        assert_eq!(store.check_access(ColdAccess::Migrate).await, Ok(()), "{mode}");
        assert_eq!(find_encryption(&server, application).await, [expected], "{mode}");
    }
    let bound = "sslmode=require&channel_binding=require";
    assert_eq!(check(server.url(IP, bound)).await, "");
    let unbound = check(server.url(IP, "sslmode=disable&channel_binding=require")).await;
    assert!(unbound.contains("channel binding"), "{unbound}");
}

/// Like libpq, `prefer` and `allow` try the other encryption if the TLS handshake fails or if the
/// server refuses the first session before the end of the authentication.
#[tokio::test(flavor = "multi_thread")]
async fn refused_session_is_opened_with_the_other_encryption() {
    let cluster = PostgresCluster::create();
    cluster.certificates.create_self_signed("ca", "authority", "");
    cluster.certificates.create_self_signed("other", "other", "");
    cluster.certificates.create_signed("expired", "server", "IP:127.0.0.1", -1);
    let opens =
        async |server: &PostgresServer, application: &str, parameters: &str, is_encrypted| {
            let parameters = cluster.certificates.expand(parameters);
            let store =
                store(server.url(IP, &format!("application_name={application}&{parameters}")));
            assert_eq!(store.check_access(ColdAccess::Migrate).await, Ok(()), "{parameters}");
            assert_eq!(find_encryption(server, application).await, [is_encrypted], "{parameters}");
        };
    let server = cluster.start(Some("expired"), ANY).await;
    opens(&server, "a", "sslmode=prefer&sslrootcert=$other.pem", false).await;
    opens(&server, "b", "sslrootcert=$ca.pem", false).await;
    opens(&server, "c", "sslmode=prefer", true).await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let parameters =
            cluster.certificates.expand(&format!("sslmode={mode}&sslrootcert=$ca.pem"));
        let cause = check(server.url(IP, &parameters)).await;
        assert!(cause.contains("expired"), "{mode}: {cause}");
    }
    // The server refuses the session after the authentication. A second attempt is useless.
    let server_url = server.url(IP, "sslmode=prefer").replace("/postgres?", "/unknown?");
    let cause = check(server_url).await;
    assert_eq!(cause.matches("does not exist (SQLSTATE 3D000)").count(), 1, "{cause}");
    drop(server);

    let server = cluster.start(Some("ca"), PLAIN_ONLY).await;
    opens(&server, "d", "sslmode=prefer", false).await;
    let cause = check(server.url(IP, "sslmode=require")).await;
    assert!(cause.contains("no pg_hba.conf entry"), "{cause}");
    drop(server);

    let server = cluster.start(Some("ca"), TLS_ONLY).await;
    opens(&server, "e", "sslmode=allow", true).await;
    let cause =
        check(server.url(IP, "sslmode=allow").replace(PostgresCluster::PASSWORD, "wrong")).await;
    assert!(cause.contains("no encryption (SQLSTATE 28000); password"), "{cause}");
    drop(server);

    // Without TLS, there is no second attempt.
    let server = cluster.start(None, ANY).await;
    let cause =
        check(server.url(IP, "sslmode=prefer").replace(PostgresCluster::PASSWORD, "wrong")).await;
    assert_eq!(cause.matches("SQLSTATE 28P01").count(), 1, "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_to_a_server_that_requires_tls_uses_it() {
    let cluster = PostgresCluster::create();
    cluster.certificates.create_self_signed("ca", "authority", "");
    cluster.certificates.create_signed("server", "server", "IP:127.0.0.1", 2);
    let server = cluster.start(Some("server"), TLS_ONLY).await;
    let plain = server.url(IP, "sslmode=disable").into();
    let refused = migrations::run(&plain, |_| {}).await.expect_err("TLS is required").to_string();
    assert!(refused.contains("no encryption (SQLSTATE 28000)"), "{refused}");
    let parameters = cluster.certificates.expand("sslmode=verify-full&sslrootcert=$ca.pem");
    let url = |host: &str, more: &str| server.url(host, &format!("{parameters}{more}"));
    migrations::run(&url(IP, "").into(), |_| {}).await.expect("the migrations succeed");

    // No server listens on the first port.
    let hosts = "127.0.0.1:1,127.0.0.1";
    assert_eq!(check(url(hosts, "&target_session_attrs=read-write")).await, "");
    let cause = check(url(hosts, "&target_session_attrs=read-only")).await;
    assert!(cause.contains("target_session_attrs"), "{cause}");

    // The request to cancel an abandoned read is sent over TLS too.
    let lock = server.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE play_counts").await.expect("valid SQL");
    let reader = store(url(IP, "&application_name=reader"));
    let read = tokio::spawn(async move { reader.play_counts().find("v").await.map(drop) });
    let blocked = "SELECT FROM pg_stat_activity \
         WHERE application_name = 'reader' AND wait_event_type = 'Lock'";
    // Within a transaction, Postgres would return the same state repeatedly.
    let observer = server.connect().await;
    wait_until("the read is blocked", async || {
        !observer.query(blocked, &[]).await.expect("valid SQL").is_empty()
    })
    .await;
    assert_eq!(find_encryption(&server, "reader").await, [true]);
    read.abort();
    wait_until("the read is canceled", async || {
        find_encryption(&server, "reader").await.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn target_determines_which_server_is_used() {
    let cluster = PostgresCluster::create();
    let standby = cluster.start_standby(ANY).await;
    let primary = cluster.start(None, ANY).await;
    let hosts = format!("{IP}:{},{IP}", primary.port());
    for (target, expected) in [
        ("any", &primary),
        ("read-write", &primary),
        ("primary", &primary),
        ("read-only", &standby),
        ("standby", &standby),
        ("prefer-standby", &standby),
    ] {
        let parameters = format!("application_name={target}&target_session_attrs={target}");
        let store = store(standby.url(&hosts, &parameters));
        assert_eq!(store.check_access(ColdAccess::Read).await, Ok(()), "{target}");
        assert_eq!(find_encryption(expected, target).await, [false], "{target}");
    }
    let refused = "the session does not match target_session_attrs";
    for (server, target, expected) in [
        (&primary, "standby", refused),
        (&primary, "read-only", refused),
        (&primary, "prefer-standby", ""),
        (&standby, "primary", refused),
        (&standby, "read-write", refused),
        (&standby, "prefer-standby", ""),
    ] {
        let store = store(server.url(IP, &format!("target_session_attrs={target}")));
        let cause = store.check_access(ColdAccess::Read).await.err().unwrap_or_default();
        assert!(cause.contains(expected) && cause.is_empty() == expected.is_empty(), "{cause}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificate_is_sent() {
    let cluster = PostgresCluster::create();
    cluster.certificates.create_self_signed("ca", "authority", "");
    cluster.certificates.create_signed("server", "server", "IP:127.0.0.1", 2);
    cluster.certificates.create_signed("client", "postgres", "", 2);
    let cases = [
        (IP, "sslmode=require", "connection requires a valid client certificate"),
        (IP, "sslmode=require&sslcert=$client.pem&sslkey=$client.key", ""),
        (IP, "sslmode=require&sslcert=$server.pem&sslkey=$client.key", "sslkey must be the key of"),
    ];
    check_all(&cluster, Some("server"), "hostssl all all 127.0.0.1/32 cert", &cases).await;
}
