//! The rights to write items. Every item of a request is checked before any item is written.

use mayfly_auth::{Access, Identity};
use mayfly_core::{NewMessage, Username, Visit};
use mayfly_http::{Code, Problem};

/// The error message for a channel without the right.
const CHANNEL_RULE: &str = "is a channel on which these credentials may not publish";
/// The error message for a username without the right.
const USERNAME_RULE: &str = "is a username for which these credentials may not publish";
/// The error message for a host without the right.
const HOST_RULE: &str = "is a host for which these credentials may not report visits";

/// Checks that the caller may publish a message. A message from a caller with a token receives the
/// subject of the token as its username.
pub fn authorize_message(identity: &Identity, message: &mut NewMessage) -> Result<(), Problem> {
    match find_forbidden_field(identity, message) {
        Some((field, rule)) => Err(forbidden().field(field, rule)),
        None => Ok(()),
    }
}

/// Checks that the caller may publish every message in a batch, as [`authorize_message`] does. The
/// problem names the messages that the caller may not publish.
pub fn authorize_batch(identity: &Identity, messages: &mut [NewMessage]) -> Result<(), Problem> {
    let mut problem = None;
    for (index, message) in messages.iter_mut().enumerate() {
        if let Some((field, rule)) = find_forbidden_field(identity, message) {
            let earlier = problem.unwrap_or_else(forbidden);
            problem = Some(earlier.field(format!("[{index}].{field}"), rule));
        }
    }
    problem.map_or(Ok(()), Err)
}

/// Checks that the caller may report plays.
pub fn authorize_plays(identity: &Identity) -> Result<(), Problem> {
    if identity.allows(&Access::PublishPlays) { Ok(()) } else { Err(forbidden()) }
}

/// Checks that the caller may report every visit. The problem names the visits that the caller may
/// not report, with their indexes if the request `is_batch`.
pub fn authorize_visits(
    identity: &Identity,
    visits: &[Visit],
    is_batch: bool,
) -> Result<(), Problem> {
    let mut problem = None;
    for (index, visit) in visits.iter().enumerate() {
        if !identity.allows(&Access::PublishVisits { host: visit.host.as_str() }) {
            let field = if is_batch { format!("[{index}].host") } else { "host".to_owned() };
            problem = Some(problem.unwrap_or_else(forbidden).field(field, HOST_RULE));
        }
    }
    problem.map_or(Ok(()), Err)
}

/// Returns the field that forbids the caller to publish a message, and the violated rule. Sets the
/// username of a message from a caller with a token.
fn find_forbidden_field(
    identity: &Identity,
    message: &mut NewMessage,
) -> Option<(&'static str, &'static str)> {
    if let Identity::Token(token) = identity {
        let username = message.username.get_or_insert_with(|| token.subject.clone());
        if *username != token.subject {
            return Some(("username", USERNAME_RULE));
        }
    }
    let channel = message.channel.as_str();
    let username = message.username.as_ref().map(Username::as_str);
    if identity.allows(&Access::PublishMessage { channel, username }) {
        None
    } else if identity.allows(&Access::PublishMessage { channel, username: None }) {
        Some(("username", USERNAME_RULE))
    } else {
        Some(("channel", CHANNEL_RULE))
    }
}

/// Returns the problem for a request without the right to write all of its items.
fn forbidden() -> Problem {
    Problem::new(Code::Forbidden)
        .detail("The credentials do not allow this write. Nothing was written.")
}
