//! The credentials of a connection.

use mayfly_auth::{Identity, Names, Scopes};
use mayfly_authenticator::Generation;
use mayfly_core::{KeyHash, Timestamp};

use crate::{
    hub::{ClientSlot, ConnectionMemory, Reservation},
    websocket::CloseCode,
};

/// Approximate memory that a stored pattern occupies in addition to its characters, in bytes.
/// Includes the index of the patterns in the filters of the worker.
const PATTERN_OVERHEAD_BYTES: usize = 96;

/// The identity of a connection, and the validity of the credentials that prove it.
pub(crate) struct Credential {
    identity: Identity,
    /// Whether the connection has been authenticated, if only as a caller without credentials.
    is_authenticated: bool,
    /// `None` if the connection has no credentials.
    proof: Option<Proof>,
    /// The time when the credentials are no longer accepted; `None` if they do not expire.
    ends_at: Option<Timestamp>,
    /// Counts the connection for its client; `None` if the connection does not count.
    slot: Option<ClientSlot>,
    /// The memory of the patterns of a token. Connections with the same token share the patterns,
    /// but each of them counts the memory.
    patterns: Reservation,
}

/// The digest of accepted credentials, and the newest change of keys and revocations that had been
/// made before the credentials were checked.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub(crate) digest: KeyHash,
    pub(crate) generation: Generation,
}

impl Credential {
    /// Creates the credential of a connection that has not been authenticated and has no rights.
    pub(crate) fn none(slot: Option<ClientSlot>, memory: &ConnectionMemory) -> Self {
        let identity = Identity::Anonymous(Scopes::EMPTY);
        let patterns = memory.reserve();
        Self { identity, is_authenticated: false, proof: None, ends_at: None, slot, patterns }
    }

    /// Replaces the identity with an authenticated one. `proof` is `None` for a caller without
    /// credentials. `slot` is `None` if the connection still counts for the same client.
    pub(crate) fn accept(
        &mut self,
        identity: Identity,
        proof: Option<Proof>,
        slot: Option<ClientSlot>,
    ) {
        self.is_authenticated = true;
        self.proof = proof;
        self.ends_at = identity.ends_at();
        if slot.is_some() {
            self.slot = slot;
        }
        self.set_identity(identity);
    }

    /// Replaces the identity after the same credentials have been checked again.
    pub(crate) fn confirm(&mut self, identity: Identity, generation: Generation) {
        if let Some(proof) = &mut self.proof {
            proof.generation = generation;
        }
        self.ends_at = identity.ends_at();
        self.set_identity(identity);
    }

    /// Drops the identity of a connection that closes, so that its patterns occupy no memory.
    pub(crate) fn discard(&mut self) {
        self.proof = None;
        self.ends_at = None;
        self.set_identity(Identity::Anonymous(Scopes::EMPTY));
    }

    fn set_identity(&mut self, identity: Identity) {
        self.patterns.set(count_bytes(&identity));
        self.identity = identity;
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Returns the client that the connection counts for.
    pub(crate) fn client(&self) -> Option<&str> {
        self.slot.as_ref().map(ClientSlot::client)
    }

    /// Returns the time when the credentials are no longer accepted and the connection is closed;
    /// `None` if they do not expire.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        self.ends_at
    }

    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|at| now >= at)
    }

    /// Returns the code for closing the connection when the credentials have expired.
    pub(crate) fn end_code(&self) -> CloseCode {
        match self.identity {
            Identity::Token(_) => CloseCode::TokenExpired,
            Identity::Open | Identity::Anonymous(_) | Identity::Key(_) => CloseCode::Revoked,
        }
    }

    /// Returns the digest of the credentials, if any.
    pub(crate) fn digest(&self) -> Option<&KeyHash> {
        self.proof.as_ref().map(|proof| &proof.digest)
    }

    /// Returns whether the credentials were last checked before `generation`.
    pub(crate) fn is_unchecked(&self, generation: Generation) -> bool {
        self.proof.as_ref().is_some_and(|proof| proof.generation < generation)
    }

    /// Returns whether the credentials were last checked after a change that followed `generation`.
    pub(crate) fn is_newer(&self, generation: Generation) -> bool {
        self.proof.as_ref().is_some_and(|proof| proof.generation > generation)
    }

    /// Returns the memory that the patterns occupy, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.patterns.bytes()
    }
}

/// Returns the approximate memory that the patterns of an identity occupy, in bytes. The patterns
/// of a key do not count: operators create keys, a key can have 1,000 patterns and any number of
/// connections, and all connections with the key share its patterns.
fn count_bytes(identity: &Identity) -> usize {
    let bytes = |names: &Names| -> usize {
        let patterns = names.patterns().unwrap_or_default();
        patterns.iter().map(|one| one.as_str().len() + PATTERN_OVERHEAD_BYTES).sum()
    };
    match identity {
        Identity::Open | Identity::Anonymous(_) | Identity::Key(_) => 0,
        Identity::Token(token) => {
            let rights = &token.rights;
            let lists = [&rights.publish, &rights.subscribe, &rights.hosts, &rights.visits];
            lists.into_iter().map(bytes).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mayfly_auth::{Key, KeyLimits, LEEWAY_S, Scope, Token, TokenRights};
    use mayfly_core::Username;
    use uuid::Uuid;

    use super::*;
    use crate::hub::Hub;

    const NOW: Timestamp = Timestamp::from_millis(1_795_201_623_000);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() + seconds * 1_000)
    }

    fn token(expires_in_s: i64) -> Identity {
        let patterns = Names::parse(["chat.*"]).expect("a valid pattern");
        Identity::Token(Arc::new(Token {
            subject: Username::parse("fred").expect("a valid username"),
            id: None,
            issued_at: None,
            expires_at: at(expires_in_s).as_millis() / 1_000,
            rights: TokenRights { subscribe: patterns, ..TokenRights::default() },
        }))
    }

    fn key(expires_at: Option<Timestamp>) -> Identity {
        Identity::Key(Arc::new(Key {
            id: Uuid::nil(),
            scopes: Scopes::from_iter([Scope::Subscribe]),
            channels: Names::All,
            usernames: Names::All,
            hosts: Names::All,
            limits: KeyLimits::default(),
            expires_at,
            is_revoked: false,
        }))
    }

    fn accept(identity: Identity) -> Credential {
        let mut credential = Credential::none(None, &ConnectionMemory::new(0));
        credential.accept(identity, None, None);
        credential
    }

    #[test]
    fn connection_ends_after_the_leeway_of_its_token() {
        let credential = accept(token(60));
        assert_eq!(credential.ends_at(), Some(at(60 + LEEWAY_S)));
        assert!(!credential.has_ended(at(89)) && credential.has_ended(at(90)));
        assert_eq!(credential.end_code(), CloseCode::TokenExpired);
        assert_eq!(accept(token(-10)).ends_at(), Some(at(20)), "accepted within the leeway");
    }

    #[test]
    fn keys_end_as_revoked_and_other_callers_do_not_end() {
        let mut credential = accept(key(Some(at(5))));
        assert!(credential.has_ended(at(5)));
        assert_eq!(credential.end_code(), CloseCode::Revoked);
        credential.confirm(key(None), Generation::default());
        assert_eq!(credential.ends_at(), None, "the overlap of a rotated key was extended");
        assert_eq!(accept(Identity::Open).ends_at(), None);
    }

    #[test]
    fn patterns_of_a_token_count_as_memory() {
        let mut credential = accept(token(60));
        assert_eq!(credential.memory_bytes(), "chat.*".len() + PATTERN_OVERHEAD_BYTES);
        credential.accept(key(None), None, None);
        assert_eq!(credential.memory_bytes(), 0);
        credential.accept(token(60), None, None);
        credential.discard();
        assert_eq!(credential.memory_bytes(), 0, "the connection closes");
    }

    #[tokio::test]
    async fn connection_counts_for_its_client() {
        let hub = Hub::for_tests(&[]);
        let slot = |client| hub.clients.admit(client);
        let mut credential = Credential::none(slot("192.0.2.1"), &hub.memory);
        credential.accept(token(60), None, slot("token:fred"));
        assert_eq!(credential.client(), Some("token:fred"));
        credential.accept(token(90), None, None);
        assert_eq!(credential.client(), Some("token:fred"));
    }
}
