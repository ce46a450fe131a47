//! Keys of a request that another program overwrote with another type or value: they reject this
//! request and no other of the batch.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_hot::{IdempotentRequest, MessageWriteRequest, ReplayedWrite, WriteOutcome};

use super::limit;
use crate::{
    TestStore,
    messages::{messages_to, write_request},
};

const ACCEPTED: WriteOutcome<ReplayedWrite> = WriteOutcome::Accepted(None);

/// Writes requests for messages in one batch.
async fn write_batch(
    test: &TestStore,
    requests: Vec<MessageWriteRequest>,
) -> Vec<WriteOutcome<ReplayedWrite>> {
    let writer = test.message_writer();
    let outcomes = join_all(requests.into_iter().map(|request| writer.write(request))).await;
    outcomes.into_iter().map(|outcome| outcome.expect("Redis responds")).collect()
}

#[tokio::test]
async fn inbox_window_or_stored_outcome_of_another_type_rejects_only_its_request() {
    let test = TestStore::create().await;
    let keys = test.keys();
    let planted = [
        keys.inbox("planted"),
        keys.rate("messages", 3_600, "client"),
        keys.idempotency("route", "client", "key"),
    ];
    for key in &planted {
        test.plant(key).await;
    }
    let [planted_inbox, limited, repeated, valid] =
        ["planted", "limited", "repeated", "valid"].map(|name| messages_to(name, 2));
    let request = IdempotentRequest::new("route", "client".into(), "key".into(), &[b"x"]);
    let requests = vec![
        write_request(&planted_inbox),
        MessageWriteRequest { limit: Some(limit("client", 10)), ..write_request(&limited) },
        MessageWriteRequest { idempotency: Some(request), ..write_request(&repeated) },
        write_request(&valid),
    ];
    let outcomes = write_batch(&test, requests).await;
    for (key, outcome) in planted.iter().zip(&outcomes) {
        let is_unreadable = matches!(outcome, WriteOutcome::UnreadableKey { key: found, error }
            if found == key && error.starts_with("WRONGTYPE"));
        assert!(is_unreadable, "{outcome:?}");
    }
    assert_eq!(outcomes[3], ACCEPTED);
    assert_eq!(test.ledger("messages.accepted").await.as_deref(), Some("2"));
    for message in [&planted_inbox, &limited, &repeated].into_iter().flatten() {
        assert_eq!(test.find(message.id).await, None, "nothing of a rejected request is written");
    }
    let page = test.hot.inbox().list("valid", 10).await.expect("Redis responds");
    assert_eq!(page.messages.len(), 2);
}

#[tokio::test]
async fn window_that_is_no_number_rejects_only_its_request() {
    let test = TestStore::create().await;
    let window = Duration::from_secs(3_600).as_secs();
    test.query::<()>(&["SET", &test.keys().rate("messages", window, "client"), "many"]).await;
    let limit = Some(limit("client", 10));
    let requests = vec![
        MessageWriteRequest { limit, ..write_request(&messages_to("kiran", 1)) },
        write_request(&messages_to("kiran", 1)),
    ];
    let outcomes = write_batch(&test, requests).await;
    assert!(matches!(outcomes[0], WriteOutcome::UnreadableKey { .. }), "{outcomes:?}");
    assert_eq!(outcomes[1], ACCEPTED);
}
