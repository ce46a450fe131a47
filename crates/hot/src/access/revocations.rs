//! Token revocations: a copy in Redis of all revocations in Postgres.

use mayfly_core::{Timestamp, TokenRevocation};

use crate::{
    access::mirror::{Mirror, MirrorReload},
    connection::{HotError, HotStore, script},
};

script!(
    FIND,
    "#!lua flags=no-writes\n",
    include_str!("mirror.lua"),
    include_str!("find_revocations.lua"),
);

/// The format of the rows.
const FORMAT: u32 = 1;

/// Whether a token has been revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationState {
    /// The state is not known, because the revocations are not completely loaded.
    NotLoaded,
    /// The token has been revoked.
    Revoked,
    /// The token has not been revoked.
    Valid,
}

/// The parts of a token that revocations refer to. A token is revoked by its ID, or because it was
/// issued before the revocation of its subject. A token without a time of issue is revoked by any
/// revocation of its subject.
#[derive(Debug, Clone, Copy)]
pub struct RevocableToken<'a> {
    /// The ID.
    pub id: Option<&'a str>,
    /// The subject.
    pub subject: &'a str,
    /// The time of issue, in seconds since the Unix epoch.
    pub issued_at_s: Option<i64>,
}

/// Operations on token revocations.
#[derive(Clone, Copy)]
pub struct TokenRevocations<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on token revocations.
    #[must_use]
    pub fn token_revocations(&self) -> TokenRevocations<'_> {
        TokenRevocations { store: self }
    }
}

impl<'a> TokenRevocations<'a> {
    pub(super) fn mirror(self) -> Mirror<'a> {
        let keys = &self.store.keys;
        Mirror {
            store: self.store,
            rows: keys.token_revocations(),
            new_rows: keys.new_token_revocations(),
            version: keys.token_revocations_version(),
            format: FORMAT,
        }
    }

    /// Returns whether each of the tokens has been revoked, in the same order. There should be at
    /// most a few hundred tokens. O(n) for n tokens.
    pub async fn find(
        self,
        tokens: &[RevocableToken<'_>],
    ) -> Result<Vec<RevocationState>, HotError> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let keys = &self.store.keys;
        let mut call = FIND.prepare_invoke();
        call.key(keys.token_revocations()).key(keys.token_revocations_version()).arg(FORMAT);
        for token in tokens {
            // No token has an empty ID.
            call.arg(name_of_token(token.id.unwrap_or_default()));
            call.arg(name_of_subject(token.subject));
        }
        let (is_loaded, values): (bool, Vec<Option<Vec<u8>>>) =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        let states = tokens.iter().zip(values.chunks(2)).map(|(token, values)| match values {
            // A revocation is final, so it is effective even if the revocations may be outdated.
            [Some(_), _] => RevocationState::Revoked,
            [_, Some(value)] if is_issued_before(token.issued_at_s, value) => {
                RevocationState::Revoked
            }
            _ if is_loaded => RevocationState::Valid,
            _ => RevocationState::NotLoaded,
        });
        Ok(states.collect())
    }

    /// Returns whether this version of the revocations in Postgres was completely loaded within the
    /// last hour, and no revocation has been written since. Also returns false if a Redis key has
    /// the wrong type. O(1).
    pub async fn is_current(self, version: i64) -> Result<bool, HotError> {
        self.mirror().is_current(version).await
    }

    /// Writes a revocation that has just been stored, and causes a reload of all revocations. O(1).
    pub async fn put(self, revocation: &TokenRevocation) -> Result<(), HotError> {
        self.mirror().put(&[to_row(revocation)]).await
    }

    /// Begins a reload of all revocations. Returns `None` if a reload is already in progress. The
    /// caller must read the revocations from Postgres after this call. O(1).
    pub async fn begin_reload(self) -> Result<Option<MirrorReload>, HotError> {
        self.mirror().begin_reload().await
    }

    /// Writes a page of a reload. `version` is `Some` only for the last page, which replaces the
    /// current revocations with those of all pages. Returns false if the reload must be restarted,
    /// because Redis has restarted or the reload made no progress for 3 s. O(n) for n revocations
    /// in the page.
    pub async fn put_page(
        self,
        reload: &MirrorReload,
        page: &[TokenRevocation],
        version: Option<i64>,
    ) -> Result<bool, HotError> {
        let rows: Vec<_> = page.iter().map(to_row).collect();
        self.mirror().put_page(reload, &rows, version).await
    }

    /// Marks the revocations as not loaded, because there are more than can be loaded. No token can
    /// be checked then. O(1).
    pub async fn unload(self) -> Result<(), HotError> {
        self.mirror().unload().await
    }
}

/// Returns the name and the value of a row. The value is the earliest time of issue, in ms, of the
/// tokens of the subject that stay valid; it is empty if the row revokes a single token.
fn to_row(revocation: &TokenRevocation) -> (String, String) {
    match revocation {
        TokenRevocation::Token(id) => (name_of_token(id), String::new()),
        TokenRevocation::Subject { subject, issued_before } => {
            (name_of_subject(subject), issued_before.as_millis().to_string())
        }
    }
}

fn name_of_token(id: &str) -> String {
    format!("id:{id}")
}

fn name_of_subject(subject: &str) -> String {
    format!("sub:{subject}")
}

/// Returns whether a token was issued before the time in the row of its subject, which is also the
/// case if one of the times is unknown.
fn is_issued_before(issued_at_s: Option<i64>, value: &[u8]) -> bool {
    let before = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    let before = before.map(Timestamp::from_millis);
    let issued_at =
        issued_at_s.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1_000)));
    issued_at.zip(before).is_none_or(|(issued_at, before)| issued_at < before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_issue_is_compared_in_milliseconds() {
        let is_before = |issued_at_s, value: &str| is_issued_before(issued_at_s, value.as_bytes());
        for (issued_at_s, value) in [
            (Some(7), "7001"),
            (Some(6), "7000"),
            (Some(i64::MIN), "0"),
            (None, "7000"),
            (Some(9), "later"),
            (Some(9), ""),
        ] {
            assert!(is_before(issued_at_s, value), "{issued_at_s:?} {value}");
        }
        for (issued_at_s, value) in [(7, "7000"), (8, "7001"), (i64::MAX, "7000")] {
            assert!(!is_before(Some(issued_at_s), value), "{issued_at_s} {value}");
        }
    }
}
