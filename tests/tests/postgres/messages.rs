//! Messages that are stored again because their entry is redelivered.

use std::time::Duration;

use mayfly_cold::{ColdStore, Expiry, MessageBatch, NewMessageRow};
use mayfly_core::{Clock, MessageId, SystemClock, message::MessageView};
use mayfly_runtime::settings::PostgresSettings;

use crate::{create_migrated_database, message};

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
