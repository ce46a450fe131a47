//! Copies in Redis of small tables in Postgres.
//!
//! A mirror consists of a hash with all rows and the version of the table, which is missing while
//! the rows are not completely loaded. A field with the empty name marks the hash as complete, so
//! that a lost hash is not taken for an empty table. A change is written to Postgres first, then to
//! the mirror. If the second write fails or Redis loses data, the version differs from the version
//! in Postgres or the hash is not complete, and a process reloads all rows.

use std::time::Duration;

use deadpool_redis::redis::{self, RedisError};
use uuid::Uuid;

use crate::connection::{HotError, HotStore, millis, script};

script!(BEGIN_RELOAD, include_str!("begin_reload.lua"));
script!(PUT_PAGE, include_str!("put_page.lua"));
script!(PUT_ROWS, include_str!("put_rows.lua"));

/// The time after which a reload that makes no progress expires.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(3);

/// A reload of all rows of a mirror, in progress.
#[derive(Debug)]
pub struct MirrorReload {
    token: String,
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
    /// The format and the version of the rows.
    pub(super) format: String,
    /// The format in which this version of Mayfly writes rows.
    pub(super) own_format: u32,
}

impl Mirror<'_> {
    /// Returns whether this version of the table is completely loaded in the format of this version
    /// of Mayfly, and no row has been written since. Also returns false if a Redis key has the
    /// wrong type.
    pub(super) async fn has_version(&self, version: i64) -> Result<bool, HotError> {
        type Loaded = [Option<Vec<u8>>; 2];
        let (loaded, is_complete): (Result<Loaded, RedisError>, Result<bool, RedisError>) = self
            .store
            .call(async |connection| {
                redis::pipe()
                    .ignore_errors()
                    .cmd("MGET")
                    .arg(&self.version)
                    .arg(&self.format)
                    .cmd("HEXISTS")
                    .arg(&self.rows)
                    .arg("")
                    .query_async(connection)
                    .await
            })
            .await?;
        let is_complete = self.store.skip_unreadable(&self.rows, is_complete)?.unwrap_or(false);
        let expected = [version.to_string(), format!("{} {version}", self.own_format)];
        Ok(is_complete && loaded? == expected.map(|text| Some(text.into_bytes())))
    }

    /// Writes rows, given as name and value, that have just been changed, removes the rows with the
    /// names `removed`, and causes a reload.
    pub(super) async fn put(
        &self,
        rows: &[(String, String)],
        removed: &[&str],
    ) -> Result<(), HotError> {
        let mut call = PUT_ROWS.prepare_invoke();
        call.key(&self.rows).key(&self.version).key(&self.new_rows);
        call.arg(Uuid::now_v7().simple().to_string()).arg(removed.len());
        for name in removed {
            call.arg(*name);
        }
        for (name, value) in rows {
            call.arg(name).arg(value);
        }
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Begins a reload. Returns `None` if a reload is already in progress. The caller must read the
    /// rows from Postgres after this call.
    pub(super) async fn begin_reload(&self) -> Result<Option<MirrorReload>, HotError> {
        let token = Uuid::now_v7().to_string();
        let mut call = BEGIN_RELOAD.prepare_invoke();
        call.key(&self.new_rows).arg(&token).arg(millis(RELOAD_TIMEOUT));
        let has_begun: bool =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(has_begun.then_some(MirrorReload { token }))
    }

    /// Writes a page of a reload. `version` is `Some` only for the last page, which replaces the
    /// current rows with the rows of all pages. Returns false if the reload must be restarted,
    /// because a row was changed in the meantime or the reload made no progress for 3 s.
    pub(super) async fn put_page(
        &self,
        reload: &MirrorReload,
        page: &[(String, String)],
        version: Option<i64>,
    ) -> Result<bool, HotError> {
        let mut call = PUT_PAGE.prepare_invoke();
        call.key(&self.new_rows).key(&self.rows).key(&self.version).key(&self.format);
        call.arg(&reload.token).arg(millis(RELOAD_TIMEOUT));
        call.arg(version.map(|version| version.to_string()).unwrap_or_default());
        call.arg(self.own_format);
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
