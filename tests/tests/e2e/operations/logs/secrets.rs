//! Secrets appear in no log line, response or error, not even at the most verbose log level of all
//! libraries and while requests fail.

use std::{fs, time::Duration};

use futures_util::{SinkExt, StreamExt};
use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, PostgresCluster, ServiceProcess, TlsRedis, bin_dir, eventually,
};
use reqwest::Client;
use serde_json::json;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::operations::tls::{
    StoreSettings, TLS_ONLY, create_certificates, create_client, get_admin, wait_until_up,
};

const TOKEN_SECRET: &str = "hunter4-verifies-the-tokens-of-this-test";
const S3_SECRET: &str = "hunter5-signs-the-requests-to-the-s3-server";
/// The level of every library. A list of directives replaces the default levels of libraries.
const LOG_LEVEL: &str = "trace,actix_http=trace";

/// The secrets that the test looks for.
struct Secrets(Vec<String>);

impl Secrets {
    #[track_caller]
    fn check(&self, source: &str, text: &str) {
        for secret in &self.0 {
            if let Some(at) = text.find(secret) {
                let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
                let line = text[start..].lines().next().unwrap_or_default();
                panic!("{source} contains {secret}: {line}");
            }
        }
    }

    /// Sends a request and checks the response. Returns the status.
    async fn send(&self, request: reqwest::RequestBuilder) -> u16 {
        let response = ApiResponse::send(request).await;
        self.check("a response", &format!("{:?}\n{}", response.headers, response.text()));
        response.status
    }
}

/// Changes the last character of credentials.
fn change(credentials: &str) -> String {
    let last = if credentials.ends_with('a') { 'b' } else { 'a' };
    format!("{}{last}", &credentials[..credentials.len() - 1])
}

/// Sends a token in the first frame of a WebSocket, and reads a frame.
async fn send_token(fanout: &ServiceProcess, token: &str) {
    let url = fanout.url("/v1/live").replace("http://", "ws://");
    let (mut socket, _) = connect_async(url).await.expect("the upgrade is accepted");
    let frame = json!({"type": "auth", "token": token}).to_string();
    socket.send(Message::text(frame)).await.expect("the frame is sent");
    let frame = tokio::time::timeout(DEFAULT_TIMEOUT, socket.next()).await;
    frame.expect("a frame").expect("a frame").expect("an intact connection");
}

/// Sends requests with accepted and with rejected credentials, in every place where a client may or
/// may not put them.
async fn send_requests(
    client: &Client,
    services: &[ServiceProcess; 3],
    secrets: &Secrets,
    key: &str,
    token: &str,
) {
    let [ingest, list, fanout] = services;
    let message = json!({"text": "hello", "channel": "chat"});
    eventually(DEFAULT_TIMEOUT, "the key is accepted", async || {
        let request = client.post(ingest.url("/v1/messages")).bearer_auth(key).json(&message);
        match secrets.send(request).await {
            202 => Ok(()),
            status => Err(status),
        }
    })
    .await;
    let messages = || client.get(list.url("/v1/messages"));
    for (expected, request) in [
        (200, messages().header("X-API-Key", key)),
        (200, messages().bearer_auth(token)),
        (401, messages().header("X-API-Key", change(key))),
        (401, messages().bearer_auth(change(token))),
        (401, messages().header("Authorization", key)),
        (401, messages().query(&[("token", token)])),
        (400, messages().bearer_auth(key).query(&[("key", key)])),
        (401, client.get(list.url(&format!("/v1/messages/{token}")))),
        (401, client.get(fanout.url("/v1/events")).query(&[("token", key)])),
        (401, client.get(fanout.url("/v1/events")).query(&[("token", &change(token))])),
    ] {
        assert_eq!(secrets.send(request).await, expected);
    }
    let source = client.get(list.url("/api/v1.0/increasingconcurrents"));
    secrets.send(source.query(&[("apikey", key), ("host", "example.org")])).await;
    let events = client.get(fanout.url("/v1/events")).query(&[("token", token)]);
    let events = events.send().await.expect("a response");
    assert_eq!(events.status(), 200);
    for token in [token, &change(token), key] {
        send_token(fanout, token).await;
    }
}

#[tokio::test]
async fn secrets_are_neither_logged_nor_returned() {
    let cluster = PostgresCluster::create();
    let certificates = &cluster.certificates;
    create_certificates(certificates);
    let redis = TlsRedis::start(certificates, "server").await;
    let postgres = cluster.start(Some("server"), TLS_ONLY).await;
    let stores = StoreSettings::trusting(certificates, "ca", &redis, &postgres);
    let secret_file = certificates.file("secrets");
    fs::write(&secret_file, TOKEN_SECRET).expect("a file");
    let secret_file = secret_file.display().to_string();
    let tokens = [("MAYFLY_AUTH__SECRET_FILE", secret_file.as_str())];
    let settings = [
        tokens[0],
        ("MAYFLY_LOG__LEVEL", LOG_LEVEL),
        // No server listens there.
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "mayfly"),
        ("AWS_SECRET_ACCESS_KEY", S3_SECRET),
        ("AWS_REGION", "eu-west-1"),
    ];
    assert!(stores.mayfly(&["migrate"], &[]).await.is_success);
    let start = async |service| stores.start(service, &settings).await;
    let public = [
        start(Service::IngestApi).await,
        start(Service::ListApi).await,
        start(Service::WsFanout).await,
    ];
    let workers = [start(Service::PersistWorker).await, start(Service::StatsPublisher).await];
    let client = create_client();
    for process in public.iter().chain(&workers) {
        wait_until_up(&client, process, &["redis"]).await;
    }

    let created = stores.mayfly(&["keys", "create", "--name", "x", "--scope", "operate"], &[]);
    let key = created.await.stdout.trim().to_owned();
    let grants = ["token", "create", "--sub", "fred", "--subscribe", "*", "--inbox"];
    let token = stores.mayfly(&grants, &tokens).await.stdout.trim().to_owned();
    assert!(key.starts_with("mf_") && token.split('.').count() == 3, "{key} {token}");
    let (prefix, _) = key.rsplit_once('_').expect("an ID and a secret");
    let secrets = Secrets(vec![
        TlsRedis::PASSWORD.to_owned(),
        PostgresCluster::PASSWORD.to_owned(),
        TOKEN_SECRET.to_owned(),
        S3_SECRET.to_owned(),
        key[prefix.len() + 1..key.len() - 1].to_owned(),
        // The claims are not secret, but only the signature distinguishes tokens.
        token[token.len() - 30..token.len() - 1].to_owned(),
    ]);
    send_requests(&client, &public, &secrets, &key, &token).await;
    // Requests fail in all services.
    drop((redis, postgres));
    eventually(DEFAULT_TIMEOUT, "requests fail", async || {
        let message = json!({"text": "hello"});
        let request = client.post(public[0].url("/v1/messages")).bearer_auth(&key).json(&message);
        match secrets.send(request).await {
            503 => Ok(()),
            status => Err(status),
        }
    })
    .await;
    for process in public.into_iter().chain(workers) {
        for path in ["/version", "/readyz", "/livez", "/metrics"] {
            let response = get_admin(&client, &process, path).await;
            secrets.check(path, &response.text());
        }
        let (_, _, log) = process.terminate(Duration::from_secs(30)).await;
        assert!(log.iter().any(|line| line.contains("TRACE")), "{log:#?}");
        secrets.check("the log", &log.join("\n"));
    }
}

#[test]
fn check_of_the_configuration_does_not_print_secrets() {
    for (name, value) in [
        ("REDIS_URL", "redis://:hunter2@a,b"),
        ("REDIS_URL", "hunter2"),
        ("DATABASE_URL", "postgres://me:hunter2@h:x/mayfly"),
        ("DATABASE_URL", "postgres://me:hunter2@h/mayfly?sslmode=hunter2"),
        ("DATABASE_URL", "postgres://h/mayfly?password=hunter2&sslrootcert=/nowhere"),
        ("MAYFLY_REDIS__URL_FILE", "hunter2"),
        ("MAYFLY_AUTH__SECRET_FILE", "hunter2"),
        ("MAYFLY_REDIS__PASSWORDS", "hunter2"),
        ("MAYFLY_POSTGRES__PASS", "hunter2"),
    ] {
        for service in Service::ALL {
            let mut command = std::process::Command::new(bin_dir().join(service.name()));
            command.env_clear().env(name, value).arg("--check-config");
            let output = command.output().expect("the service starts");
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            assert_eq!(output.status.code(), Some(78), "{text}");
            assert!(text.contains(name) && !text.contains("hunter2"), "{text}");
        }
    }
}
