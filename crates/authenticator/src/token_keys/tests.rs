//! Tests for the refresh of public keys.

use std::{fs, path::Path};

use mayfly_runtime::{ComponentStatus, Lifecycle, Settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use super::*;

/// Tokens of the user `fred`, signed with Ed25519, with the key IDs `one` and `two`.
const ONE: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6Im9uZSJ9.\
    eyJzdWIiOiJmcmVkIiwiZXhwIjo0MTAyNDQ0ODAwLCJtYXlmbHkiOnt9fQ.\
    J1rUWjC2L4P7LIzIdoItD8eBkTgk1xH0n_Pm_xur4TZF7Siods3E27anm__CyXfNr1ZrIFfL1H136mY-0ZX-CQ";
const TWO: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6InR3byJ9.\
    eyJzdWIiOiJmcmVkIiwiZXhwIjo0MTAyNDQ0ODAwLCJtYXlmbHkiOnt9fQ.\
    IjHRDZHrj3s4t6LRY3EcxmSkeUwbT1f5bsFaoS5GsJCPIxUZJefgzDNVm_HUl-mJkxjQz9qyaDYHhuvMoLA1CA";
/// The public keys of the tokens.
const KEY_ONE: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"one","x":"yG0BrYsvtpSyL_YOPJ2eftkNtWBHcrdEUNQJE7mpy68"}"#;
const KEY_TWO: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"two","x":"VV9GnCIYjpABW92FuIlnjUWfhr349700lxsQubOFhgk"}"#;
/// A time at which both tokens are valid, in seconds since the Unix epoch.
const NOW_S: i64 = 1_800_000_000;

fn set(keys: &[&str]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

/// Token keys with their own health and versions.
struct Test {
    keys: Arc<TokenKeys>,
    health: Health,
    versions: Arc<Versions>,
}

impl Test {
    fn create(name: &str, value: &str) -> Self {
        let env = [(name.to_owned(), value.to_owned())];
        let settings = Settings::from_layers(None, env.into_iter()).expect("valid settings");
        let health = Health::new(Lifecycle::new(Duration::from_secs(1)));
        let keys = Arc::new(TokenKeys::new(&settings.auth, Some(&health)));
        Self { keys, health, versions: Arc::new(Versions::new()) }
    }

    fn start_refreshing(&self) {
        tokio::spawn(Arc::clone(&self.keys).refresh_periodically(Arc::clone(&self.versions)));
    }

    fn refresher(&self) -> &Refresher {
        self.keys.refresher.as_ref().expect("public keys are configured")
    }

    /// Waits until this number of further refreshes have completed.
    async fn wait_for_refreshes(&self, count: u64) {
        let mut completed = self.refresher().completed.subscribe();
        let end = *completed.borrow() + count;
        completed.wait_for(|completed| *completed >= end).await.expect("the sender exists");
    }

    async fn verify(&self, token: &str) -> Result<(), Option<TokenError>> {
        self.keys.verify(token, NOW_S).await.map(|token| {
            assert_eq!(token.subject.as_str(), "fred");
        })
    }

    fn is_up(&self) -> bool {
        self.health.report().components[COMPONENT].status == ComponentStatus::Up
    }
}

fn write(path: &Path, keys: &[&str]) {
    fs::write(path, set(keys)).expect("the file is written");
}

#[tokio::test(start_paused = true)]
async fn changed_file_is_read_and_an_invalid_one_is_ignored() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jwks.json");
    write(&path, &[KEY_ONE]);
    let test = Test::create("MAYFLY_AUTH__JWKS_FILE", path.to_str().expect("valid UTF-8"));
    assert_eq!(test.verify(ONE).await, Ok(()), "loaded with the configuration");
    assert!(test.is_up());
    test.start_refreshing();
    test.wait_for_refreshes(1).await;
    assert_eq!(test.versions.tokens(), 0, "the file did not change");

    write(&path, &[KEY_ONE, KEY_TWO]);
    assert_eq!(test.verify(TWO).await, Err(Some(TokenError::UnknownKey)));
    test.wait_for_refreshes(1).await;
    assert_eq!(test.verify(TWO).await, Ok(()));
    assert_eq!(test.versions.tokens(), 1, "cached tokens are verified again");

    fs::write(&path, "{").expect("the file is written");
    test.wait_for_refreshes(1).await;
    assert!(!test.is_up());
    assert_eq!((test.verify(ONE).await, test.verify(TWO).await), (Ok(()), Ok(())));

    write(&path, &[KEY_TWO]);
    test.wait_for_refreshes(1).await;
    assert!(test.is_up());
    assert_eq!(test.verify(ONE).await, Err(Some(TokenError::UnknownKey)));
    assert_eq!(test.verify(TWO).await, Ok(()));
    fs::remove_file(&path).expect("the file exists");
    test.wait_for_refreshes(1).await;
    assert!(!test.is_up());
    assert_eq!(test.verify(TWO).await, Ok(()));
}

/// An HTTP server with a key set.
#[derive(Clone, Default)]
struct KeyServer {
    body: Arc<Mutex<String>>,
    /// The times of the requests.
    requests: Arc<Mutex<Vec<Instant>>>,
}

impl KeyServer {
    /// Starts the server, and returns its URL.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        tokio::spawn(self.clone().serve(listener));
        url
    }

    async fn serve(self, listener: TcpListener) {
        loop {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let count = connection.read_buf(&mut head).await.expect("a request");
                assert!(count > 0, "the request is complete");
            }
            self.requests.lock().push(Instant::now());
            let body = self.body.lock().clone();
            let status = if body.is_empty() { "503 Service Unavailable" } else { "200 OK" };
            let length = body.len();
            let response = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            connection.write_all(response.as_bytes()).await.expect("the client reads");
        }
    }

    fn requests(&self) -> usize {
        self.requests.lock().len()
    }
}

/// Moves the time by the minimum interval between two refreshes.
async fn pass_interval() {
    pass(REFRESH_INTERVAL_MIN).await;
}

/// Moves the time.
async fn pass(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

#[tokio::test]
async fn unknown_keys_cause_at_most_one_request_per_interval() {
    let server = KeyServer::default();
    *server.body.lock() = set(&[KEY_ONE]);
    let test = Test::create("MAYFLY_AUTH__JWKS_URL", &server.start().await);
    test.start_refreshing();
    assert_eq!(test.verify(ONE).await, Ok(()), "the token waits for the first request");
    for _ in 0..1_000 {
        assert_eq!(test.verify(TWO).await, Err(Some(TokenError::UnknownKey)));
    }
    assert_eq!(server.requests(), 1);

    *server.body.lock() = set(&[KEY_ONE, KEY_TWO]);
    pass_interval().await;
    assert_eq!(test.verify(TWO).await, Ok(()), "the token waits for the second request");
    assert_eq!((server.requests(), test.is_up()), (2, true));
}

#[tokio::test]
async fn thousand_unknown_keys_per_second_cause_one_request_per_interval() {
    const SECONDS: u64 = 35;
    let server = KeyServer::default();
    *server.body.lock() = set(&[KEY_ONE]);
    let test = Test::create("MAYFLY_AUTH__JWKS_URL", &server.start().await);
    test.start_refreshing();
    for _ in 0..SECONDS {
        let mut verifications = JoinSet::new();
        for _ in 0..1_000 {
            let keys = Arc::clone(&test.keys);
            verifications.spawn(async move { keys.verify(TWO, NOW_S).await.map(drop) });
        }
        for result in verifications.join_all().await {
            assert_eq!(result, Err(Some(TokenError::UnknownKey)));
        }
        assert_eq!(test.verify(ONE).await, Ok(()), "tokens with a known key are not affected");
        pass(Duration::from_secs(1)).await;
    }
    let requests = server.requests.lock();
    let intervals: Vec<_> = requests.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The times of the requests differ from those at which the refreshes started by the time that it
    // takes to connect.
    let interval_min = REFRESH_INTERVAL_MIN / 10 * 9;
    assert!(intervals.iter().all(|interval| *interval > interval_min), "{intervals:?}");
    assert!(intervals.len() >= 3, "the keys are refreshed repeatedly: {intervals:?}");
}

#[tokio::test]
async fn last_keys_are_kept_while_the_server_fails() {
    let server = KeyServer::default();
    let test = Test::create("MAYFLY_AUTH__JWKS_URL", &server.start().await);
    test.start_refreshing();
    assert_eq!(test.verify(ONE).await, Err(None), "no key was ever loaded");
    assert!(!test.is_up());
    *server.body.lock() = set(&[KEY_ONE]);
    pass_interval().await;
    assert_eq!(test.verify(ONE).await, Ok(()));
    server.body.lock().clear();
    pass_interval().await;
    assert_eq!(test.verify(TWO).await, Err(Some(TokenError::UnknownKey)));
    assert_eq!((server.requests(), test.is_up()), (3, false));
    assert_eq!(test.verify(ONE).await, Ok(()));
}

#[tokio::test]
async fn only_configured_algorithms_are_accepted() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secrets");
    fs::write(&path, "a secret of at least thirty-two bytes").expect("the file is written");
    let test = Test::create("MAYFLY_AUTH__SECRET_FILE", path.to_str().expect("valid UTF-8"));
    assert_eq!(test.verify(ONE).await, Err(Some(TokenError::Algorithm)));
    assert!(test.health.report().components.is_empty());
}
