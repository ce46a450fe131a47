//! Keys that another program overwrote with a wrong type or value. An unreadable key of a request
//! rejects only this request, and no other request of the batch.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_hot::{IdempotentRequest, MessageWriteRequest, ReplayedWrite, WriteOutcome};

use super::limit;
use crate::{
    TestStore, is_fresh,
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
async fn inbox_window_or_stored_outcome_of_the_wrong_type_rejects_only_its_request() {
    let test = TestStore::create().await;
    let keys = test.keys();
    let overwritten = [
        keys.inbox("overwritten"),
        keys.rate("messages", 3_600, "client"),
        keys.idempotency("route", "client", "key"),
    ];
    for key in &overwritten {
        test.overwrite(key).await;
    }
    let [overwritten_inbox, limited, repeated, valid] =
        ["overwritten", "limited", "repeated", "valid"].map(|name| messages_to(name, 2));
    let request = IdempotentRequest::new("route", "client".into(), "key".into(), &[b"x"]);
    let requests = vec![
        write_request(&overwritten_inbox),
        MessageWriteRequest { limit: Some(limit("client", 10)), ..write_request(&limited) },
        MessageWriteRequest { idempotency: Some(request), ..write_request(&repeated) },
        write_request(&valid),
    ];
    let outcomes = write_batch(&test, requests).await;
    for (key, outcome) in overwritten.iter().zip(&outcomes) {
        let is_unreadable = matches!(outcome, WriteOutcome::UnreadableKey { key: found, error }
            if found == key && error.starts_with("WRONGTYPE"));
        assert!(is_unreadable, "{outcome:?}");
    }
    assert_eq!(outcomes[3], ACCEPTED);
    assert_eq!(test.ledger("messages.accepted").await.as_deref(), Some("2"));
    for message in [&overwritten_inbox, &limited, &repeated].into_iter().flatten() {
        assert_eq!(test.find(message.id).await, None, "nothing of a rejected request is written");
    }
    let page = test.hot.inbox().list("valid", 10).await.expect("Redis responds");
    assert_eq!(page.messages.len(), 2);
}

#[tokio::test]
async fn window_with_a_malformed_number_rejects_only_its_request() {
    let test = TestStore::create().await;
    let window = Duration::from_secs(3_600).as_secs();
    let limit = Some(limit("client", 10));
    // Lua reads all but the first two as numbers; INCRBY accepts only some of them.
    let values = ["many", "", "1.5", "1e1", "0x1", "-3", "007", "inf", "9007199254740993"];
    for value in values {
        test.query::<()>(&["SET", &test.keys().rate("messages", window, "client"), value]).await;
        let [limited, valid] = ["limited", "valid"].map(|name| messages_to(name, 1));
        let requests = vec![
            MessageWriteRequest { limit: limit.clone(), ..write_request(&limited) },
            write_request(&valid),
        ];
        let outcomes = write_batch(&test, requests).await;
        assert!(matches!(outcomes[0], WriteOutcome::UnreadableKey { .. }), "{value}: {outcomes:?}");
        assert_eq!(outcomes[1], ACCEPTED, "{value}");
        assert_eq!(test.find(limited[0].id).await, None, "{value}");
        assert!(test.find(valid[0].id).await.is_some(), "{value}");
    }
    let accepted = test.ledger("messages.accepted").await;
    assert_eq!(accepted, Some(values.len().to_string()), "each message is accepted once");
}

#[tokio::test]
async fn window_without_a_time_to_live_ends_and_fails_no_request() {
    let test = TestStore::create().await;
    let (limit, window) = (limit("client", 3), Duration::from_secs(3_600));
    let key = test.keys().rate("messages", window.as_secs(), "client");
    test.query::<()>(&["SET", &key, "1"]).await;
    let write = async |count| {
        let limited = MessageWriteRequest {
            limit: Some(limit.clone()),
            ..write_request(&messages_to("limited", count))
        };
        let [outcome, other] =
            write_batch(&test, vec![limited, write_request(&messages_to("x", 1))])
                .await
                .try_into()
                .expect("two outcomes");
        assert_eq!(other, ACCEPTED);
        outcome
    };
    let accepted = write(2).await;
    let WriteOutcome::Accepted(Some(status)) = accepted else { panic!("{accepted:?}") };
    assert!(status.remaining == 0 && is_fresh(status.resets_in, window), "{status:?}");
    assert!(is_fresh(test.ttl(&key).await, window));
    // The same happens if nothing is accepted. Otherwise, the client would be rejected forever.
    test.query::<()>(&["PERSIST", &key]).await;
    let rejected = write(1).await;
    let WriteOutcome::RateLimited(status) = rejected else { panic!("{rejected:?}") };
    assert!(is_fresh(status.resets_in, window), "{status:?}");
    assert!(is_fresh(test.ttl(&key).await, window));
}
