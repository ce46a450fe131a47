//! Copies in Redis of small tables in Postgres.
//!
//! A mirror consists of a hash with all rows and the version of the table. A field with the empty
//! name marks the hash as complete, so that a lost hash is not taken for an empty table. The mark
//! also names the run of Redis in which the rows were loaded: a Redis that restarted, was restored
//! from a snapshot, or took over from another one may have older rows, which count as not loaded
//! (`mirror.lua`).
//!
//! A change is written to Postgres first, then to the mirror. If the second write fails or Redis
//! loses data, the version differs from the version in Postgres or the mark is not valid, and a
//! process reloads all rows.

use std::time::Duration;

use deadpool_redis::redis;
use mayfly_core::{Clock as _, Timestamp};
use uuid::{NoContext, Uuid};

use crate::connection::{HotError, HotStore, millis, script};

script!(
    READ_VERSIONS,
    "#!lua flags=no-writes\n",
    include_str!("mirror.lua"),
    include_str!("read_versions.lua"),
);
script!(
    BEGIN_RELOAD,
    "#!lua flags=allow-oom\n",
    include_str!("mirror.lua"),
    include_str!("begin_reload.lua"),
);
script!(
    PUT_PAGE,
    "#!lua flags=allow-oom\n",
    include_str!("mirror.lua"),
    include_str!("put_page.lua"),
);
script!(PUT_ROWS, include_str!("put_rows.lua"));

/// The time after which a reload that makes no progress expires.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(3);
/// The time after which rows are reloaded even if their version has not changed: a row may have
/// been overwritten in Redis, or may have expired in Postgres.
const RELOAD_INTERVAL: Duration = Duration::from_secs(3_600);

/// A reload of all rows of a mirror, in progress.
#[derive(Debug)]
pub struct MirrorReload {
    pub(super) token: String,
}

/// The Redis keys of a mirror, and the format of its rows.
pub(super) struct Mirror<'a> {
    pub(super) store: &'a HotStore,
    /// The hash of all rows.
    pub(super) rows: String,
    /// The hash of a reload in progress.
    pub(super) new_rows: String,
    /// The loaded version.
    pub(super) version: String,
    /// The format in which this version of Mayfly writes rows. Rows in a later format count as
    /// loaded: a row that cannot be read is refused when it is found.
    pub(super) format: u32,
}

/// The loaded state of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoadedVersion {
    /// The version of the table, followed by `+` and a unique text if a row has been written since.
    pub(super) version: String,
    /// The token of the reload.
    pub(super) token: String,
}

impl LoadedVersion {
    /// Returns whether the rows were loaded within the last hour. A token in the future comes from
    /// a wrong clock.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let token = Uuid::try_parse(&self.token).ok();
        let loaded_at = token.and_then(|token| token.get_timestamp()).map(|at| at.to_unix().0);
        let now_s = u64::try_from(now.as_millis() / 1_000).unwrap_or_default();
        loaded_at.is_some_and(|at_s| at_s.abs_diff(now_s) < RELOAD_INTERVAL.as_secs())
    }
}

/// Reads the versions of mirrors in one round trip. Returns `None` for a mirror that is not
/// completely loaded.
pub(super) async fn read_versions<const N: usize>(
    store: &HotStore,
    mirrors: [&Mirror<'_>; N],
) -> Result<[Option<LoadedVersion>; N], HotError> {
    let mut call = READ_VERSIONS.prepare_invoke();
    for mirror in mirrors {
        call.key(&mirror.rows).key(&mirror.version).arg(mirror.format);
    }
    let reply: Vec<Option<String>> =
        store.call(async |connection| call.invoke_async(connection).await).await?;
    let mut reply = reply.into_iter();
    Ok(mirrors.map(|_| {
        let (version, token) = (reply.next().flatten(), reply.next().flatten());
        version.zip(token).map(|(version, token)| LoadedVersion { version, token })
    }))
}

impl Mirror<'_> {
    /// Returns whether this version of the table is completely loaded in the format of this version
    /// of Mayfly or a later one, no row has been written since, and the rows were loaded within the
    /// last hour. Also returns false if a Redis key has the wrong type.
    pub(super) async fn is_current(&self, version: i64) -> Result<bool, HotError> {
        let [loaded] = read_versions(self.store, [self]).await?;
        let now = self.store.clock().now();
        Ok(loaded
            .is_some_and(|loaded| loaded.version == version.to_string() && loaded.is_fresh(now)))
    }

    /// Writes rows, given as name and value, that have just been changed, and causes a reload.
    pub(super) async fn put(&self, rows: &[(String, String)]) -> Result<(), HotError> {
        let mut call = PUT_ROWS.prepare_invoke();
        call.key(&self.rows).key(&self.version).key(&self.new_rows);
        call.arg(Uuid::now_v7().simple().to_string());
        for (name, value) in rows {
            call.arg(name).arg(value);
        }
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Begins a reload. Returns `None` if a reload is already in progress. The caller must read the
    /// rows from Postgres after this call.
    pub(super) async fn begin_reload(&self) -> Result<Option<MirrorReload>, HotError> {
        let token = new_token(self.store.clock().now());
        let mut call = BEGIN_RELOAD.prepare_invoke();
        call.key(&self.new_rows).arg(&token).arg(millis(RELOAD_TIMEOUT));
        let has_begun: bool =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(has_begun.then_some(MirrorReload { token }))
    }

    /// Writes a page of a reload. `version` is `Some` only for the last page, which replaces the
    /// current rows with the rows of all pages. Returns false if the reload must be restarted,
    /// because Redis has restarted or the reload made no progress for 3 s.
    pub(super) async fn put_page(
        &self,
        reload: &MirrorReload,
        page: &[(String, String)],
        version: Option<i64>,
    ) -> Result<bool, HotError> {
        let mut call = PUT_PAGE.prepare_invoke();
        call.key(&self.new_rows).key(&self.rows).key(&self.version);
        call.arg(&reload.token).arg(millis(RELOAD_TIMEOUT));
        call.arg(version.map(|version| version.to_string()).unwrap_or_default());
        call.arg(self.format);
        for (name, value) in page {
            call.arg(name).arg(value);
        }
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Marks the mirror as not loaded.
    pub(super) async fn unload(&self) -> Result<(), HotError> {
        let mut command = redis::cmd("UNLINK");
        command.arg(&self.version);
        self.store.call(async |connection| command.query_async::<()>(connection).await).await
    }
}

/// Returns a token that contains the time, by the clock of Redis.
fn new_token(now: Timestamp) -> String {
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    let nanos = (millis % 1_000) as u32 * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, millis / 1_000, nanos)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_fresh_for_an_hour() {
        let loaded_at = Timestamp::from_millis(1_795_201_620_999);
        let loaded =
            |token: &str| LoadedVersion { version: "1".to_owned(), token: token.to_owned() };
        let fresh = loaded(&new_token(loaded_at));
        assert!(fresh.is_fresh(loaded_at) && fresh.is_fresh(loaded_at.plus(RELOAD_INTERVAL / 2)));
        // The clocks of two processes differ slightly.
        assert!(fresh.is_fresh(loaded_at.minus(Duration::from_secs(1))));
        assert!(!fresh.is_fresh(loaded_at.plus(RELOAD_INTERVAL)));
        assert!(!fresh.is_fresh(loaded_at.minus(RELOAD_INTERVAL)));
        for wrong in ["", "x", "67e55044-10b1-426f-9247-bb680e5fe0c8"] {
            assert!(!loaded(wrong).is_fresh(loaded_at), "{wrong}");
        }
    }
}
