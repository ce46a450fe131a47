//! Checks the credentials of open connections again after keys or revocations have changed, and
//! closes the connections whose credentials are no longer valid.

use std::{collections::HashMap, rc::Rc, slice::Chunks, time::Duration};

use futures_util::{StreamExt, stream};
use mayfly_auth::{Access, Identity, Key, Names, Scopes};
use mayfly_authenticator::{AuthError, Generation, Rejection};
use mayfly_core::KeyHash;
use tracing::debug;

use super::{
    Worker, WorkerContext,
    connection::{Connection, Stage},
};
use crate::websocket::{Close, CloseCode};

/// Number of tokens that a worker checks together, with one call to Redis.
const TOKENS_CHECKED_TOGETHER: usize = 128;
/// Maximum number of calls to Redis of a worker that check keys, and of those that check tokens.
const CHECKS_MAX: usize = 8;
/// Number of checked credentials after which the worker handles other events.
const CHECKS_PER_YIELD: usize = 16;
/// Number of failed checks of keys or of tokens after which the other keys or tokens wait for the
/// next attempt, because Redis is probably unavailable or not restored yet. More checks would slow
/// down its recovery.
const FAILED_CHECKS_MAX: usize = 64;
/// The pause before credentials that could not be checked are checked again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Credentials that must be checked again.
struct Unchecked {
    identity: Identity,
    /// Keys of the connections with these credentials.
    connections: Vec<usize>,
}

/// Checks all credentials of the worker again after each change of keys or revocations. Runs until
/// the process exits.
pub(super) async fn run_rechecks(context: Rc<WorkerContext>) {
    let mut changes = context.hub.authenticator.changes();
    loop {
        let generation = *changes.borrow_and_update();
        let is_complete = recheck(&context, generation).await;
        let retry = async {
            if is_complete {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        };
        tokio::select! {
            outcome = changes.changed() => {
                if outcome.is_err() {
                    return;
                }
            }
            () = context.recheck_needed.notified() => {}
            () = retry => {}
        }
    }
}

/// Checks the credentials that were last checked before `generation`, each once for all its
/// connections. Keys and tokens are checked separately, because the check may be impossible for
/// only one of the two. Returns whether all credentials were checked.
async fn recheck(context: &WorkerContext, generation: Generation) -> bool {
    let unchecked = context.worker.borrow().find_unchecked(generation).into_iter();
    let (keys, tokens): (Vec<_>, Vec<_>) =
        unchecked.partition(|(_, unchecked)| matches!(unchecked.identity, Identity::Key(_)));
    let (keys, tokens) = tokio::join!(
        recheck_groups(context, generation, keys.chunks(1)),
        recheck_groups(context, generation, tokens.chunks(TOKENS_CHECKED_TOGETHER)),
    );
    keys && tokens
}

async fn recheck_groups(
    context: &WorkerContext,
    generation: Generation,
    groups: Chunks<'_, (KeyHash, Unchecked)>,
) -> bool {
    let checks = groups.map(|together| async move {
        let credentials: Vec<_> =
            together.iter().map(|(digest, unchecked)| (digest, &unchecked.identity)).collect();
        (together, context.hub.authenticator.recheck_all(&credentials).await)
    });
    let mut checks = stream::iter(checks).buffer_unordered(CHECKS_MAX);
    let (mut count, mut failed) = (0_usize, 0_usize);
    while let Some((together, outcomes)) = checks.next().await {
        for ((digest, Unchecked { connections, .. }), outcome) in together.iter().zip(&outcomes) {
            let is_checked =
                context.worker.borrow_mut().apply(digest, connections, generation, outcome);
            failed += usize::from(!is_checked);
            count += 1;
            if count.is_multiple_of(CHECKS_PER_YIELD) {
                tokio::task::yield_now().await;
            }
        }
        if failed >= FAILED_CHECKS_MAX {
            break;
        }
    }
    failed == 0
}

impl Worker {
    /// Returns the distinct credentials of open connections that were last checked before
    /// `generation`.
    fn find_unchecked(&self, generation: Generation) -> HashMap<KeyHash, Unchecked> {
        let mut unchecked = HashMap::new();
        let is_unchecked = |connection: &Connection| {
            connection.is_open() && connection.credential.is_unchecked(generation)
        };
        for key in self.keys(is_unchecked) {
            let credential = &self.connections[key].credential;
            let Some(digest) = credential.digest() else { continue };
            let entry = unchecked.entry(digest.clone()).or_insert_with(|| Unchecked {
                identity: credential.identity().clone(),
                connections: Vec::new(),
            });
            entry.connections.push(key);
        }
        unchecked
    }

    /// Applies the outcome of a check to the connections that still have these credentials. Returns
    /// false if the credentials could not be checked; the connections then stay open.
    fn apply(
        &mut self,
        digest: &KeyHash,
        connections: &[usize],
        generation: Generation,
        outcome: &Result<Identity, AuthError>,
    ) -> bool {
        if let Err(
            error @ (AuthError::NotLoaded | AuthError::Unavailable | AuthError::RateLimited { .. }),
        ) = outcome
        {
            debug!(%error, "credentials could not be checked again; retrying");
            return false;
        }
        for &key in connections {
            // The connection may have been removed, or may have other credentials. It may also
            // have been authenticated after a newer change, which this outcome does not include.
            let Some(connection) = self.connections.get(key) else { continue };
            let credential = &connection.credential;
            let is_same = credential.digest() == Some(digest) && !credential.is_newer(generation);
            if !connection.is_open() || !is_same {
                continue;
            }
            let close = match outcome {
                Ok(identity) if identity.allows(&Access::Connect) => {
                    self.confirm(key, identity, generation);
                    continue;
                }
                Ok(_) => Close::with_reason(CloseCode::Unauthorized, "forbidden"),
                Err(AuthError::Invalid(Rejection::Expired)) => credential.end_code().into(),
                Err(_) => CloseCode::Revoked.into(),
            };
            self.close_unauthorized(key, &close);
        }
        self.flush();
        true
    }

    /// Replaces the identity of a connection whose credentials are still valid. If the rights of a
    /// key have changed, removes the names from the subscription that it no longer allows.
    fn confirm(&mut self, key: usize, identity: &Identity, generation: Generation) {
        let credential = &mut self.connections[key].credential;
        let is_changed = has_other_rights(credential.identity(), identity);
        credential.confirm(identity.clone(), generation);
        if !is_changed {
            return;
        }
        let subscription = self.connections[key].group_key.subscription.clone();
        let forbidden = self.restrict_subscription(key, subscription);
        if forbidden.is_empty() {
            return;
        }
        if self.connections[key].stage == Stage::Starting {
            self.connections[key].add_forbidden(forbidden);
        } else {
            self.send_forbidden(key, forbidden, "auth");
        }
    }
}

/// Returns whether the rights of a key have changed. The rights of a token never change.
fn has_other_rights(before: &Identity, after: &Identity) -> bool {
    match (before, after) {
        (Identity::Key(before), Identity::Key(after)) => rights(before) != rights(after),
        _ => false,
    }
}

fn rights(key: &Key) -> (Scopes, [&Names; 3]) {
    (key.scopes, [&key.channels, &key.usernames, &key.hosts])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mayfly_auth::{KeyLimits, Scope};
    use uuid::Uuid;

    use super::*;
    use crate::{
        frames::Encoding,
        hub::Hub,
        subscription::{NewSubscription, Subscription},
        worker::{Proof, Sink},
    };

    fn key(scope: Scope, channels: &[&str]) -> Identity {
        Identity::Key(Arc::new(Key {
            id: Uuid::nil(),
            scopes: Scopes::from_iter([scope]),
            channels: Names::parse(channels.iter().copied()).expect("valid patterns"),
            usernames: Names::All,
            hosts: Names::All,
            limits: KeyLimits::default(),
            expires_at: None,
            is_revoked: false,
        }))
    }

    fn start_worker() -> Worker {
        let hub = Hub::for_tests(&[]);
        Worker::new(hub.register().0, &hub)
    }

    /// Registers a live connection with these credentials that subscribes to the channel `a`.
    fn register(worker: &mut Worker, credentials: &str) -> usize {
        let digest = KeyHash::from_key(credentials);
        let proof = Proof { digest, generation: Generation::default() };
        let connection = worker.register(Sink::Sse(None), Encoding::Sse, None);
        worker.accept(connection, key(Scope::Subscribe, &["a", "b"]), Some(proof), None);
        let channels = Some(vec!["a".to_owned(), "b".to_owned()]);
        let names = NewSubscription { channels, ..NewSubscription::default() };
        let subscription = Subscription::try_from(names).expect("valid names");
        worker.start_subscription(connection, subscription);
        worker.connections[connection].stage = Stage::Live;
        connection
    }

    fn apply(
        worker: &mut Worker,
        connections: &[usize],
        outcome: &Result<Identity, AuthError>,
    ) -> bool {
        let digest = KeyHash::from_key("mf_one");
        worker.apply(&digest, connections, Generation::default(), outcome)
    }

    #[tokio::test]
    async fn connections_with_revoked_credentials_are_closed() {
        let mut worker = start_worker();
        let [one, same, other] =
            ["mf_one", "mf_one", "mf_other"].map(|text| register(&mut worker, text));
        let all = [one, same, other, 99];
        worker.send_retry(one, 1_000);
        assert!(apply(&mut worker, &all, &Err(AuthError::Invalid(Rejection::Revoked))));
        let is_open = |key: usize| worker.connections[key].is_open();
        assert_eq!([one, same, other].map(is_open), [false, false, true]);
        let last = worker.pop_chunk(one).expect("only the last event is left");
        assert!(last.ends_with(b"\n\n") && last.starts_with(b"data: {\"type\":\"error\""));
    }

    #[tokio::test]
    async fn connections_stay_open_while_their_credentials_cannot_be_checked() {
        let mut worker = start_worker();
        let one = register(&mut worker, "mf_one");
        for error in [AuthError::NotLoaded, AuthError::Unavailable] {
            assert!(!apply(&mut worker, &[one], &Err(error)));
            assert!(worker.connections[one].is_open());
        }
    }

    #[tokio::test]
    async fn reduced_rights_of_a_key_reduce_the_subscription() {
        let mut worker = start_worker();
        let one = register(&mut worker, "mf_one");
        assert!(apply(&mut worker, &[one], &Ok(key(Scope::Subscribe, &["a", "b"]))));
        assert_eq!(worker.pop_chunk(one), None, "nothing has changed");
        assert!(apply(&mut worker, &[one], &Ok(key(Scope::Subscribe, &["b"]))));
        let subscription = &worker.connections[one].group_key.subscription;
        assert_eq!(subscription.to_set().channels, ["b"]);
        let event = worker.pop_chunk(one).expect("an error frame");
        let event = String::from_utf8_lossy(&event);
        assert!(event.contains(r#""code":"forbidden""#) && event.contains(r#"["a"]"#), "{event}");
        // A key without the scope allows no connection.
        assert!(apply(&mut worker, &[one], &Ok(key(Scope::Read, &["b"]))));
        assert!(!worker.connections[one].is_open());
    }

    #[tokio::test]
    async fn names_that_are_lost_before_hello_are_reported_after_it() {
        let mut worker = start_worker();
        let one = register(&mut worker, "mf_one");
        worker.connections[one].stage = Stage::Starting;
        assert!(apply(&mut worker, &[one], &Ok(key(Scope::Subscribe, &["b"]))));
        assert_eq!(worker.pop_chunk(one), None, "nothing precedes `hello`");
        let lost = worker.connections[one].forbidden.as_ref().expect("lost names");
        assert_eq!(lost.channels, ["a"]);
    }
}
