//! Redis and Postgres servers that accept only connections over TLS, with certificates of a private
//! authority.

use std::{fs, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, Certificates, DEFAULT_TIMEOUT, PostgresCluster, PostgresServer, ServiceProcess,
    TlsRedis, eventually,
};
use reqwest::Client;
use serde_json::{Value, json};

use super::{CommandOutput, mayfly_with_env};

/// Accepts only sessions with TLS.
pub(in crate::operations) const TLS_ONLY: &str = "hostssl all all 127.0.0.1/32 scram-sha-256";
const HOST: &str = "127.0.0.1";

/// Creates the authority `ca`, the unrelated authority `other`, and certificates of `ca`: a valid
/// one, one for another host, and an expired one.
pub(in crate::operations) fn create_certificates(certificates: &Certificates) {
    certificates.create_self_signed("ca", "authority", "");
    certificates.create_self_signed("other", "other", "");
    certificates.create_signed("server", "server", "IP:127.0.0.1", 2);
    certificates.create_signed("misnamed", "server", "DNS:store.example.org", 2);
    certificates.create_signed("expired", "server", "IP:127.0.0.1", -1);
}

/// The settings of a process that connects to the two servers.
pub(in crate::operations) struct StoreSettings(Vec<(&'static str, String)>);

impl StoreSettings {
    /// Returns settings that trust the authority with this name. The passwords are in files.
    pub(in crate::operations) fn trusting(
        certificates: &Certificates,
        authority: &str,
        redis: &TlsRedis,
        postgres: &PostgresServer,
    ) -> Self {
        let password_file = |name: &str, password: &str| {
            let file = certificates.file(name);
            fs::write(&file, format!("{password}\n")).expect("a file");
            file.display().to_string()
        };
        let authority = certificates.file(&format!("{authority}.pem")).display().to_string();
        let parameters = format!("sslmode=verify-full&sslrootcert={authority}");
        let postgres_url = postgres.url(HOST, &parameters);
        Self(vec![
            ("REDIS_URL", redis.url("rediss").replace(&format!(":{}@", TlsRedis::PASSWORD), "")),
            ("MAYFLY_REDIS__PASSWORD_FILE", password_file("redis-password", TlsRedis::PASSWORD)),
            ("MAYFLY_REDIS__CA_FILE", authority),
            (
                "DATABASE_URL",
                postgres_url.replace(&format!(":{}@", PostgresCluster::PASSWORD), "@"),
            ),
            (
                "MAYFLY_POSTGRES__PASSWORD_FILE",
                password_file("postgres-password", PostgresCluster::PASSWORD),
            ),
        ])
    }

    /// Returns settings that do not use TLS.
    fn without_tls(redis: &TlsRedis, postgres: &PostgresServer) -> Self {
        Self(vec![
            ("REDIS_URL", redis.url("redis")),
            ("DATABASE_URL", postgres.url(HOST, "sslmode=disable")),
        ])
    }

    /// Returns these settings with additional ones.
    fn with<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = self.0.iter().map(|(name, value)| (*name, value.as_str()));
        own.chain(more.iter().copied()).collect()
    }

    pub(in crate::operations) async fn start(
        &self,
        service: Service,
        more: &[(&str, &str)],
    ) -> ServiceProcess {
        ServiceProcess::start_with_env(service, &self.with(more)).await
    }

    pub(in crate::operations) async fn mayfly(
        &self,
        arguments: &[&str],
        more: &[(&str, &str)],
    ) -> CommandOutput {
        mayfly_with_env(arguments, &self.with(more)).await
    }
}

pub(in crate::operations) async fn get_admin(
    client: &Client,
    process: &ServiceProcess,
    path: &str,
) -> ApiResponse {
    ApiResponse::send(client.get(format!("http://{}{path}", process.admin))).await
}

/// Waits until a service can use the components with these names.
pub(in crate::operations) async fn wait_until_up(
    client: &Client,
    process: &ServiceProcess,
    names: &[&str],
) {
    eventually(DEFAULT_TIMEOUT, "the components are up", async || {
        let report = get_admin(client, process, "/readyz").await.json();
        let is_up = names.iter().all(|name| report["parts"][name]["status"] == "up");
        if is_up { Ok(()) } else { Err(report) }
    })
    .await;
}

pub(in crate::operations) fn create_client() -> Client {
    Client::builder().timeout(DEFAULT_TIMEOUT).build().expect("a client")
}

#[tokio::test]
async fn every_service_works_with_stores_that_require_tls() {
    let cluster = PostgresCluster::create();
    create_certificates(&cluster.certificates);
    let redis = TlsRedis::start(&cluster.certificates, "server").await;
    let postgres = cluster.start(Some("server"), TLS_ONLY).await;
    let stores = StoreSettings::trusting(&cluster.certificates, "ca", &redis, &postgres);
    let migrated = stores.mayfly(&["migrate"], &[]).await;
    assert!(migrated.is_success, "{}", migrated.stderr);

    let client = create_client();
    let open = [("MAYFLY_AUTH__MODE", "open")];
    let ingest = stores.start(Service::IngestApi, &open).await;
    let list = stores.start(Service::ListApi, &open).await;
    let fanout = stores.start(Service::WsFanout, &open).await;
    let worker = stores.start(Service::PersistWorker, &open).await;
    let publisher = stores.start(Service::StatsPublisher, &open).await;
    for (process, names) in [
        (&ingest, &["redis"][..]),
        (&list, &["redis", "postgres"]),
        (&fanout, &["redis"]),
        (&worker, &["redis", "postgres"]),
        (&publisher, &["redis", "postgres"]),
    ] {
        wait_until_up(&client, process, names).await;
    }
    // A message passes through the connections of all services: pooled, blocking and subscribed.
    let mut events = client.get(fanout.url("/v1/events")).send().await.expect("a response");
    let mut received = String::new();
    read_until(&mut events, &mut received, "hello").await;
    let message = client.post(ingest.url("/v1/messages")).json(&json!({"text": "over TLS"}));
    let message = ApiResponse::send(message).await.expect_status(202);
    let id = message["id"].as_str().expect("an ID");
    read_until(&mut events, &mut received, id).await;
    eventually(DEFAULT_TIMEOUT, "the message is stored", async || {
        let page = ApiResponse::send(client.get(list.url("/v1/messages"))).await;
        let is_stored = page.json()["items"][0]["id"] == id;
        if is_stored { Ok(()) } else { Err(page.json()) }
    })
    .await;
    let query = "SELECT FROM messages WHERE text = 'over TLS'";
    assert_eq!(postgres.connect().await.query(query, &[]).await.expect("valid SQL").len(), 1);
    let audit = stores.mayfly(&["audit", "--wait", "30s"], &[]).await;
    assert!(audit.is_success, "{}{}", audit.stdout, audit.stderr);
}

/// Reads an event stream until it has sent a text.
async fn read_until(events: &mut reqwest::Response, received: &mut String, text: &str) {
    let reading = async {
        while !received.contains(text) {
            let chunk = events.chunk().await.expect("the stream is intact");
            received.push_str(&String::from_utf8_lossy(&chunk.expect("the stream continues")));
        }
    };
    let finished = tokio::time::timeout(DEFAULT_TIMEOUT, reading).await;
    finished.unwrap_or_else(|_| panic!("no {text} in {received}"));
}

/// Starts persist-worker, which needs both stores, and waits until `/readyz` and the log state why
/// it cannot use them.
async fn check_refused(stores: &StoreSettings, redis_cause: &str, postgres_cause: &str) {
    let client = create_client();
    let worker = stores.start(Service::PersistWorker, &[]).await;
    let causes = [("redis", redis_cause), ("postgres", postgres_cause)];
    let state = |report: &Value, name: &str| {
        let part = &report["parts"][name];
        (part["status"] == "down", part["reason"].as_str().unwrap_or_default().to_owned())
    };
    eventually(DEFAULT_TIMEOUT, "the refusals are reported", async || {
        let response = get_admin(&client, &worker, "/readyz").await;
        let report = response.json();
        let is_reported = |&(name, cause): &(&str, &str)| {
            let (is_down, reason) = state(&report, name);
            is_down && reason.contains(cause) && reason != "not checked yet"
        };
        if response.status == 503 && causes.iter().all(is_reported) { Ok(()) } else { Err(report) }
    })
    .await;
    let (status, _, log) = worker.terminate(Duration::from_secs(30)).await;
    assert!(status.success(), "{log:#?}");
    for (name, cause) in causes {
        let is_logged = |line: &String| {
            line.contains(" WARN ")
                && line.contains("component is down")
                && line.contains(&format!("component=\"{name}\""))
                && line.contains(cause)
        };
        assert!(log.iter().any(is_logged), "{name}: {cause}: {log:#?}");
    }
    let text = log.concat();
    for secret in [TlsRedis::PASSWORD, PostgresCluster::PASSWORD] {
        assert!(!text.contains(secret), "{log:#?}");
    }
}

#[tokio::test]
async fn server_with_an_unacceptable_certificate_is_refused_with_the_reason() {
    let cluster = PostgresCluster::create();
    create_certificates(&cluster.certificates);
    for (certificate, authority, redis_cause, postgres_cause) in [
        (
            "server",
            "other",
            "it is not signed by an authority in redis.ca_file",
            "it is not signed by an authority in sslrootcert",
        ),
        ("misnamed", "ca", "certificate not valid for name", "certificate not valid for name"),
        ("expired", "ca", "it has expired", "it has expired"),
    ] {
        let redis = TlsRedis::start(&cluster.certificates, certificate).await;
        let postgres = cluster.start(Some(certificate), TLS_ONLY).await;
        let stores = StoreSettings::trusting(&cluster.certificates, authority, &redis, &postgres);
        check_refused(&stores, redis_cause, postgres_cause).await;
    }
}

#[tokio::test]
async fn service_without_tls_is_refused_by_stores_that_require_it() {
    let cluster = PostgresCluster::create();
    create_certificates(&cluster.certificates);
    let redis = TlsRedis::start(&cluster.certificates, "server").await;
    let postgres = cluster.start(Some("server"), TLS_ONLY).await;
    let stores = StoreSettings::without_tls(&redis, &postgres);
    check_refused(&stores, "Redis", "no encryption (SQLSTATE 28000)").await;
}
