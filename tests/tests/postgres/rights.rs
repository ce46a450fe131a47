//! The rights that the health check requires are sufficient for the services.

use std::{collections::HashMap, time::Duration};

use mayfly_cold::{
    ColdAccess, ColdStore, DeadLetter, EntryOutcome, EpochReport, EpochState, Expiry, MessageBatch,
    NewMessageRow, NewPlays, PlaysBatch,
};
use mayfly_core::{
    Clock, EntryId, Host, KeyHash, Message, MessageId, PagePath, PageVisitors, Sample, SystemClock,
    TrendSnapshot,
    message::MessageView,
    plays::{Plays, PlaysView, split_plays},
};
use mayfly_runtime::settings::PostgresSettings;
use secrecy::ExposeSecret;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::{create_migrated_database, message};

const TIMEOUT: Duration = Duration::from_secs(20);
const EPOCH: &str = "epoch";

/// A migrated database, and a role that has no rights initially.
struct Database {
    url: String,
    role: String,
}

impl Database {
    async fn create(name: &str) -> Self {
        let url = create_migrated_database(name).await;
        let database = Self { url: url.expose_secret().to_owned(), role: format!("{name}_app") };
        database.execute(&format!("CREATE ROLE {}", database.role)).await;
        database
    }

    /// Executes statements as the owner.
    async fn execute(&self, statements: &str) {
        let (client, connection) =
            tokio_postgres::connect(&self.url, NoTls).await.expect("Postgres responds");
        tokio::spawn(connection);
        client.batch_execute(statements).await.expect("valid SQL");
    }

    /// Grants the role exactly the rights that the health check names as missing, and returns a
    /// store that uses the role.
    async fn grant_named_rights(&self, access: ColdAccess) -> ColdStore {
        let url = format!("{}?options=-c%20role%3D{}", self.url, self.role).into();
        let store = ColdStore::with_statement_timeout(
            &PostgresSettings { url, pool_size_max: 2, timeout: TIMEOUT },
            TIMEOUT,
        );
        let missing = store.check_access(access).await.expect_err("the user has no rights");
        let (_, rights) = missing.split_once("lacks rights: ").expect("rights are missing");
        let grants = rights.split(", ").map(|right| format!("GRANT {right} TO {};", self.role));
        self.execute(&grants.collect::<String>()).await;
        assert_eq!(store.check_access(access).await, Ok(()));
        store
    }

    /// Drops the role, because roles are shared by all databases of the server.
    async fn drop_role(self) {
        self.execute(&format!("DROP OWNED BY {0}; DROP ROLE {0}", self.role)).await;
    }
}

fn plays_json() -> Vec<u8> {
    let json = r#"[{"video_id":"v","play_id":"p"},{"video_id":"w"}]"#;
    let plays = split_plays(json).expect("two plays").parse().expect("valid plays");
    Plays { id: Uuid::now_v7(), enqueued_at: SystemClock.now(), plays: &plays }.to_json()
}

/// Returns a batch with a new message, and with takes of that message and of an unknown message.
fn message_batch<'a>(message: &Message, json: &'a [u8]) -> MessageBatch<'a> {
    let now = SystemClock.now();
    let unknown = MessageId::from(Uuid::now_v7());
    MessageBatch {
        epoch: EPOCH,
        messages: vec![NewMessageRow {
            message: MessageView::from_json(json).expect("it parses"),
            body_bytes: json.len(),
        }],
        expiries: [message.id, unknown].map(|id| Expiry { id, at: now }).to_vec(),
    }
}

fn plays_batch(json: &[u8]) -> PlaysBatch<'_> {
    let plays = PlaysView::from_json(json).expect("it parses");
    let entry_id: EntryId = "7-1".parse().expect("an entry ID");
    PlaysBatch { epoch: EPOCH, entries: vec![NewPlays { entry_id, plays }] }
}

fn dead_letter(stream: &'static str) -> DeadLetter {
    DeadLetter {
        stream,
        epoch: EPOCH.into(),
        entry_id: "8-1".into(),
        kind: "message.v1".into(),
        message_id: Some(MessageId::from(Uuid::now_v7())),
        plays_id: Some(Uuid::now_v7()),
        items: 1,
        body: b"{}".to_vec(),
        meta: String::new(),
        reason: "x".into(),
        attempts: 5,
    }
}

fn host() -> Host {
    Host::parse("a.org").expect("a host")
}

fn samples() -> Vec<TrendSnapshot> {
    let pages = vec![PageVisitors { path: "/".into(), title: None, visitors: 1 }];
    let now = SystemClock.now();
    let sample = Sample { host: host(), sampled_at: now, visitors: 1, exact: true, pages };
    vec![TrendSnapshot::new(sample, None, &HashMap::new())]
}

#[tokio::test(flavor = "multi_thread")]
async fn named_rights_are_sufficient_to_store() {
    let database = Database::create("rights_store").await;
    // Inserts play IDs that are old enough to be removed, even if the day ends during the test.
    database
        .execute(
            "INSERT INTO known_plays (part, play, enqueued_at) \
             SELECT (extract(epoch FROM now())::bigint / 86400 + days) % 4, gen_random_uuid(), now() \
             FROM generate_series(1, 2) AS days",
        )
        .await;
    let cold = database.grant_named_rights(ColdAccess::Store).await;

    let messages = [message(), message()];
    let json = messages.each_ref().map(Message::to_json);
    let batch = message_batch(&messages[0], json[0].as_ref());
    cold.messages().store_batch(&batch, TIMEOUT).await.expect("stored");
    // Delivered again.
    cold.messages().store_batch(&batch, TIMEOUT).await.expect("stored");
    let batch = message_batch(&messages[1], json[1].as_ref());
    let stored = cold.messages().try_store_batch(&batch, TIMEOUT).await.expect("stored");
    assert!(matches!(stored, EntryOutcome::Stored(_)), "{stored:?}");
    let plays = [plays_json(), plays_json()];
    let batch = plays_batch(&plays[0]);
    cold.plays().count_batch(&batch, TIMEOUT).await.expect("counted");
    cold.plays().count_batch(&batch, TIMEOUT).await.expect("counted");
    let counted = cold.plays().try_count_batch(&plays_batch(&plays[1]), TIMEOUT).await;
    let counted = counted.expect("counted");
    assert!(matches!(counted, EntryOutcome::Stored(_)), "{counted:?}");
    for stream in ["messages", "plays"] {
        cold.dead_letters().insert(&dead_letter(stream), TIMEOUT).await.expect("inserted");
    }
    cold.dead_letters().count().await.expect("counted");

    let ledger = cold.ledger();
    let state = EpochState { epoch: EPOCH, accepted: 9, newest: Some("9-1"), writers: &["w"] };
    ledger.observe("messages", state).await.expect("observed");
    ledger.record_loss(EPOCH, "messages", 9, 1).await.expect("recorded");
    let report = EpochReport { epoch: "before", writer: "w", accepted: 1, unresolved: 0 };
    ledger.report("messages", report).await.expect("reported");
    ledger.list("messages").await.expect("listed");
    cold.plays().find_processed(&[Uuid::nil()]).await.expect("found");
    cold.plays().prune_counted_entries("9-1".parse().expect("an ID")).await.expect("pruned");
    assert!(cold.plays().prune_play_ids().await.expect("pruned"));

    // The queries that restore Redis after a loss of data.
    let nil = MessageId::from(Uuid::nil());
    let max = MessageId::from(Uuid::max());
    cold.messages().list_live(nil, max, SystemClock.now(), 10).await.expect("listed");
    cold.messages().count_processed(&[nil]).await.expect("counted");
    cold.play_counts().list_published("", 10).await.expect("listed");
    cold.play_counts().find_many(&["v".to_owned()]).await.expect("found");
    cold.api_keys().find_version().await.expect("found");
    cold.api_keys().list(Uuid::nil(), 10).await.expect("listed");
    cold.token_revocations().find_version().await.expect("found");
    cold.token_revocations().list(Uuid::nil(), 10).await.expect("listed");

    // Inserts a sample that is old enough to be removed.
    database
        .execute(
            "INSERT INTO hosts (host) VALUES ('a.org'); \
             INSERT INTO page_samples (host_id, sampled_at, visitors, exact, pages) \
                 SELECT id, now() - interval '9 days', 1, true, '[]' FROM hosts",
        )
        .await;
    let deleted = cold.samples().delete_old(TIMEOUT, TIMEOUT, 10).await.expect("deleted");
    assert_eq!(deleted, 1);
    database.drop_role().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn named_rights_are_sufficient_to_publish() {
    let database = Database::create("rights_publish").await;
    let cold = database.grant_named_rights(ColdAccess::Publish).await;
    cold.statistics().read(SystemClock.now()).await.expect("read").expect("statistics");
    cold.play_counts().save_published(&[("v".to_owned(), 1)]).await.expect("saved");
    cold.samples().store(&samples(), TIMEOUT).await.expect("stored");
    cold.samples().store(&samples(), TIMEOUT).await.expect("stored");
    cold.samples().find(&host(), SystemClock.now()).await.expect("found").expect("a sample");
    cold.samples().find_baseline(&host(), SystemClock.now()).await.expect("found");
    for name in ["a.org", "b.org"] {
        let (key, host) = (KeyHash::from_key("key"), Host::parse(name).expect("a host"));
        cold.api_keys().register_source_key(&key, "key", &host).await.expect("registered");
    }
    database.drop_role().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn named_rights_are_sufficient_to_read() {
    let database = Database::create("rights_read").await;
    let cold = database.grant_named_rights(ColdAccess::Read).await;
    let nil = MessageId::from(Uuid::nil());
    cold.messages().find(nil).await.expect("found");
    cold.messages().find_many(&[nil]).await.expect("found");
    cold.dead_letters().find_message(nil).await.expect("found");
    cold.play_counts().find("v").await.expect("found");
    cold.play_counts().list(10, None).await.expect("listed");
    cold.hosts().list().await.expect("listed");
    cold.samples().find(&host(), SystemClock.now()).await.expect("found");
    cold.samples().find_baseline(&host(), SystemClock.now()).await.expect("found");
    let page = PagePath::parse("/").expect("a path");
    let now = SystemClock.now();
    cold.samples().list_hours(&host(), &page, now, now).await.expect("listed");
    database.drop_role().await;
}
