//! Messages that are stored again because their entry is redelivered, and lists for callers who may
//! read only some of the messages.

use std::time::Duration;

use mayfly_cold::{
    ColdStore, Expiry, MessageBatch, NewMessageRow, Page, PageRequest, ReadRights, ReadableNames,
};
use mayfly_core::{Clock, MessageId, Order, SystemClock, message::MessageView};
use mayfly_runtime::settings::PostgresSettings;
use secrecy::ExposeSecret;

use crate::{create_migrated_database, health::connect, message};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A worker removes the copy that a take left in Redis as soon as the take is reported as applied.
#[tokio::test(flavor = "multi_thread")]
async fn redelivered_message_is_reported_as_expired_only_if_its_row_is() {
    let url = create_migrated_database("delivered_again").await;
    let cold = ColdStore::new(&PostgresSettings { url, pool_size_max: 1, timeout: TIMEOUT });
    let message = message();
    let json = message.to_json();
    let store = async |expiries: Vec<Expiry>, has_message: bool| -> Vec<MessageId> {
        let row = NewMessageRow {
            message: MessageView::from_json(json.as_ref()).expect("it parses"),
            body_bytes: json.len(),
        };
        let messages = has_message.then_some(row).into_iter().collect();
        let batch = MessageBatch { epoch: "epoch", messages, expiries };
        cold.messages().store_batch(&batch, TIMEOUT).await.expect("stored").expired
    };
    for _ in 0..2 {
        assert_eq!(store(Vec::new(), true).await, [], "the row is unchanged");
    }
    let take = Expiry { id: message.id, at: SystemClock.now() };
    assert_eq!(store(vec![take], false).await, [message.id]);
    // The worker that applied the take may have crashed before it reported the take as applied.
    assert_eq!(store(Vec::new(), true).await, [message.id]);
}

/// Describes a page: the sequence numbers of its items, whether it has more, and where it ends.
fn describe(page: &Page) -> (Vec<i64>, bool, Option<i64>) {
    (page.items.iter().map(|item| item.seq).collect(), page.has_more, page.up_to)
}

#[tokio::test(flavor = "multi_thread")]
async fn list_of_readable_messages_examines_a_limited_number_of_messages() {
    let url = create_migrated_database("readable").await;
    let client = connect(url.expose_secret()).await;
    let fill = "ALTER TABLE messages DISABLE TRIGGER count_messages; \
        INSERT INTO messages (id, seq, channel, username, text, created_at, expires_at, body_bytes) \
        SELECT gen_random_uuid(), n, CASE WHEN n = 6000 THEN 'chat.1' ELSE 'hidden' END, \
            CASE WHEN n = 3000 THEN 'fred' END, 'x', now(), now(), 100 \
        FROM generate_series(1::bigint, 6000) AS n";
    client.batch_execute(fill).await.expect("valid SQL");
    let settings = PostgresSettings { url, pool_size_max: 1, timeout: TIMEOUT };
    let cold = ColdStore::for_requests(&settings);
    let is_readable = |channel: &str, _: Option<&str>| channel.starts_with("chat.");
    let list = async |order: Order, after: Option<i64>| {
        let request = PageRequest { limit: 10, order, after, ..PageRequest::default() };
        let rights = ReadRights { names: None, is_readable: &is_readable };
        let page = cold.messages().list_readable_page(&request, &rights).await;
        describe(&page.expect("the page is read"))
    };
    assert_eq!(list(Order::Asc, None).await, (vec![], true, Some(5_000)));
    assert_eq!(list(Order::Asc, Some(5_000)).await, (vec![6_000], false, Some(6_000)));
    assert_eq!(list(Order::Asc, Some(6_000)).await, (vec![], false, Some(6_000)));
    assert_eq!(list(Order::Desc, None).await, (vec![6_000], true, Some(1_001)));
    // The end of the list does not reveal which messages are hidden.
    assert_eq!(list(Order::Desc, Some(1_001)).await, (vec![], false, Some(1_001)));
    assert_eq!(list(Order::Asc, Some(4_000)).await, (vec![6_000], false, Some(6_000)));

    // With exact names, the indexes find the messages.
    let names = ReadableNames { channels: vec!["chat.1", "missing"], usernames: vec!["fred"] };
    let is_named =
        |channel: &str, username: Option<&str>| channel == "chat.1" || username == Some("fred");
    let list = async |order: Order, limit: u32| {
        let request = PageRequest { limit, order, ..PageRequest::default() };
        let rights = ReadRights { names: Some(names.clone()), is_readable: &is_named };
        let page = cold.messages().list_readable_page(&request, &rights).await;
        describe(&page.expect("the page is read"))
    };
    assert_eq!(list(Order::Asc, 10).await, (vec![3_000, 6_000], false, Some(6_000)));
    assert_eq!(list(Order::Asc, 1).await, (vec![3_000], true, Some(3_000)));
    assert_eq!(list(Order::Desc, 10).await, (vec![6_000, 3_000], false, Some(3_000)));
    assert_eq!(list(Order::Desc, 1).await, (vec![6_000], true, Some(6_000)));
}
