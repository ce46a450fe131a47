//! The warning about settings of Postgres with which confirmed commits can be lost.

use std::{
    fmt::{Debug, Write},
    sync::Arc,
    time::Duration,
};

use mayfly_cold::{ColdAccess, ColdStore};
use mayfly_runtime::settings::PostgresSettings;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::Field,
    span::{Attributes, Id, Record},
    subscriber,
};

use crate::create_migrated_database;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A subscriber that collects the warnings of the store. Clones share one list.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("mayfly_cold")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &Field, value: &dyn Debug| {
            write!(line, "{field}={value:?} ").expect("a string accepts all writes");
        });
        self.0.lock().push(line);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Returns the warnings of several checks, all of which succeed.
async fn check_repeatedly(url: SecretString, access: ColdAccess) -> Vec<String> {
    let warnings = Warnings::default();
    let store = ColdStore::new(&PostgresSettings { url, pool_size_max: 1, timeout: TIMEOUT });
    let _guard = subscriber::set_default(warnings.clone());
    for _ in 0..3 {
        assert_eq!(store.clone().check_access(access).await, Ok(()));
    }
    warnings.0.lock().clone()
}

/// The Postgres of the tests is not durable.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_off_are_named_once() {
    let url = create_migrated_database("not_durable").await;
    let lines = check_repeatedly(url.clone(), ColdAccess::Store).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("fsync, synchronous_commit"), "{lines:?}");
    assert!(lines[0].contains("lose changes that it has confirmed"), "{lines:?}");

    let synchronous = format!("{}?options=-c%20synchronous_commit%3Don", url.expose_secret());
    let lines = check_repeatedly(synchronous.into(), ColdAccess::Publish).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(!lines[0].contains("synchronous_commit"), "{lines:?}");

    assert!(check_repeatedly(url, ColdAccess::Read).await.is_empty());
}
