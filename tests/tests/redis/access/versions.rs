//! The versions of the API keys and the token revocations.

use mayfly_core::TokenRevocation;
use mayfly_hot::AccessVersions;

use super::{api_key, revoke, supported};
use crate::TestStore;

async fn read(test: &TestStore) -> AccessVersions {
    test.hot.read_access_versions().await.expect("Redis responds")
}

async fn load_keys(test: &TestStore, version: i64) {
    let keys = test.hot.api_keys();
    let reload = keys.begin_reload().await.expect("Redis responds").expect("a reload");
    assert!(keys.put_page(&reload, &[], Some(version)).await.expect("Redis responds"));
}

#[tokio::test]
async fn every_change_and_reload_results_in_another_version() {
    let test = TestStore::create().await;
    assert_eq!(read(&test).await, AccessVersions::default());
    load_keys(&test, 1).await;
    let mut versions = vec![read(&test).await];
    assert_eq!((versions[0].keys.is_some(), &versions[0].revocations), (true, &None));
    // Two changes before the next reload.
    for key in [api_key("one", &[]), revoke(api_key("two", &[]))] {
        test.hot.api_keys().put(&supported(&[key]), &[]).await.expect("Redis responds");
        versions.push(read(&test).await);
    }
    // A reload can correct rows although their version in Postgres is unchanged.
    load_keys(&test, 1).await;
    versions.push(read(&test).await);
    // A process of the previous version loads the keys without a mark.
    test.query::<()>(&["SET", &test.keys().api_keys_version(), "2"]).await;
    test.query::<()>(&["DEL", &test.keys().api_keys()]).await;
    versions.push(read(&test).await);
    load_keys(&test, 2).await;
    versions.push(read(&test).await);
    for (index, version) in versions.iter().enumerate() {
        assert!(!versions[..index].contains(version), "{versions:?}");
    }
}

#[tokio::test]
async fn version_of_the_revocations_is_missing_until_they_are_loaded() {
    let test = TestStore::create().await;
    let mirror = test.hot.token_revocations();
    let reload = mirror.begin_reload().await.expect("Redis responds").expect("a reload");
    assert!(mirror.put_page(&reload, &[], None).await.expect("Redis responds"));
    assert_eq!(read(&test).await, AccessVersions::default());
    assert!(mirror.put_page(&reload, &[], Some(1)).await.expect("Redis responds"));
    let loaded = read(&test).await;
    assert!(loaded.revocations.is_some() && loaded.keys.is_none(), "{loaded:?}");
    mirror.put(&TokenRevocation::Token("one".into())).await.expect("Redis responds");
    let changed = read(&test).await;
    assert!(changed.revocations.is_some() && changed != loaded, "{changed:?}");
    mirror.unload().await.expect("Redis responds");
    assert_eq!(read(&test).await, AccessVersions::default());
}
