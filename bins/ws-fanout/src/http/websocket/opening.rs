//! The start of a WebSocket: the first frame, if the server waits for one, and authentication.

use std::{pin::pin, rc::Rc, time::Duration};

use mayfly_core::{Clock as _, frame::ForbiddenNames};

use super::{
    client_frames::reject_first_frame,
    session::{Phase, WebSocketSession},
};
use crate::{
    http::{
        authentication::{
            Accepted, Denial, accepts_anonymous_callers, authenticate, count_connection,
        },
        client_frame::{ConnectRequest, FrameError, Secret, Start},
        query::LiveQuery,
    },
    hub::{ClientSlot, Hub},
    websocket::{Close, CloseCode},
};

/// How long a client may take to send its first frame, if the server waits for one.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// The parts of an accepted upgrade request that determine how a connection starts.
pub(in crate::http) struct Opening {
    /// The query, or the code for closing the connection.
    pub(in crate::http) query: Result<LiveQuery, Close>,
    pub(in crate::http) header: HeaderCredentials,
    /// The address of the client.
    pub(in crate::http) address: Box<str>,
    /// Counts the connection for its client, or for the address until the client is authenticated.
    pub(in crate::http) slot: Result<ClientSlot, Denial>,
}

/// The credentials in the headers of an upgrade request.
pub(in crate::http) enum HeaderCredentials {
    /// There are none.
    None,
    /// They are neither a key nor a token. They may be for a proxy, so they count as a failed
    /// authentication only if the first frame contains no credentials.
    Malformed,
    /// They have been checked.
    Checked { text: Secret, result: Result<Accepted, Denial> },
}

impl HeaderCredentials {
    /// Returns the result of the authentication, when the connection starts.
    async fn authenticate(self, hub: &Hub, address: &str) -> Result<Accepted, Denial> {
        match self {
            Self::None => authenticate(hub, None, address).await,
            Self::Malformed => authenticate(hub, Some(""), address).await,
            Self::Checked { text, result: Ok(accepted) } if is_outdated(hub, &accepted) => {
                authenticate(hub, Some(text.expose()), address).await
            }
            Self::Checked { result, .. } => result,
        }
    }
}

/// Returns whether the credentials may have been revoked or may have expired since they were
/// checked, because the client sent the first frame later.
fn is_outdated(hub: &Hub, accepted: &Accepted) -> bool {
    let newest = *hub.authenticator.changes().borrow();
    accepted.proof.as_ref().is_some_and(|proof| proof.generation != newest)
        || accepted.identity.ends_at().is_some_and(|ends_at| hub.hot.clock().now() >= ends_at)
}

/// A connection that can start.
pub(super) struct Opened {
    /// The position to resume from, if any.
    pub(super) since: Option<String>,
}

/// The first frame of a connection that starts with a frame.
pub(super) struct FirstFrame {
    pub(super) start: Start,
    pub(super) token: Option<Secret>,
    /// The type of the frame.
    pub(super) kind: &'static str,
}

impl WebSocketSession {
    /// Waits for the first frame, if necessary, authenticates the client, and applies the
    /// subscription. If the connection cannot start, closes it and returns `None`.
    ///
    /// The credentials in the first frame have precedence over those in the headers. If there are
    /// none, the server waits for a first frame even if the query does not announce one, unless no
    /// credentials are needed.
    pub(super) async fn open(
        &mut self,
        query: LiveQuery,
        header: HeaderCredentials,
    ) -> Option<Opened> {
        let has_header = !matches!(header, HeaderCredentials::None);
        let needs_credentials = !has_header && !accepts_anonymous_callers(&self.context.hub);
        let (start, token, frame) = if query.awaits_connect || needs_credentials {
            let first = self.wait_for_first_frame(query.request, needs_credentials).await?;
            let are_in_header = first.token.is_none() && has_header;
            (first.start, first.token, (!are_in_header).then_some(first.kind))
        } else {
            match Start::try_from(query.request) {
                Ok(start) => (start, None, None),
                Err(error) => {
                    self.close(&error.into());
                    return None;
                }
            }
        };
        let context = Rc::clone(&self.context);
        let (hub, address) = (&context.hub, &self.address);
        let authentication = async {
            match token {
                Some(token) => authenticate(hub, Some(token.expose()), address).await,
                None => header.authenticate(hub, address).await,
            }
        };
        let accepted = self.write_until(authentication).await?;
        let opened = accepted.and_then(|accepted| self.accept_first(accepted, start));
        // The memory of the first frame is released.
        self.count_input(&mut context.worker.borrow_mut());
        match opened {
            Ok(opened) => opened,
            Err(denial) => {
                self.deny(denial, frame);
                None
            }
        }
    }

    /// Applies the first credentials and the subscription. Returns `None` if the connection has
    /// been closed in the meantime.
    fn accept_first(&self, accepted: Accepted, start: Start) -> Result<Option<Opened>, Denial> {
        let mut worker = self.context.worker.borrow_mut();
        let connection = &worker.connections[self.key];
        if !connection.is_open() {
            return Ok(None);
        }
        let client = connection.credential.client();
        let slot = count_connection(&self.context.hub, &accepted.identity, client)?;
        worker.accept(self.key, accepted.identity, accepted.proof, slot);
        worker.start_subscription(self.key, start.subscription);
        drop(worker);
        self.context.recheck_if_outdated(self.key);
        Ok(Some(Opened { since: start.since }))
    }

    /// Replaces the credentials of an open connection. If the new credentials are refused, the old
    /// ones stay in effect.
    pub(super) async fn renew(&mut self, token: Secret) {
        let context = Rc::clone(&self.context);
        // The future is boxed so that its memory is freed when it completes.
        let authentication =
            Box::pin(authenticate(&context.hub, Some(token.expose()), &self.address));
        let Some(accepted) = self.write_until(authentication).await else { return };
        let renewed = accepted.and_then(|accepted| self.accept_renewal(accepted));
        let forbidden = match renewed {
            Ok(forbidden) => forbidden,
            Err(denial) => {
                self.report_error(denial.to_frame_error("auth"));
                return;
            }
        };
        context.recheck_if_outdated(self.key);
        self.report_renewal();
        self.report_forbidden(forbidden);
    }

    /// Applies new credentials. Returns the subscribed names that they do not allow.
    fn accept_renewal(&self, accepted: Accepted) -> Result<ForbiddenNames, Denial> {
        let mut worker = self.context.worker.borrow_mut();
        let connection = &worker.connections[self.key];
        if !connection.is_open() {
            return Ok(ForbiddenNames::default());
        }
        let client = connection.credential.client();
        let slot = count_connection(&self.context.hub, &accepted.identity, client)?;
        Ok(worker.accept(self.key, accepted.identity, accepted.proof, slot))
    }

    /// Waits for the first frame. Rejects the connection if the frame does not arrive in time.
    /// Returns `None` if the connection does not start.
    async fn wait_for_first_frame(
        &mut self,
        defaults: ConnectRequest,
        needs_credentials: bool,
    ) -> Option<FirstFrame> {
        self.expect_first_frame(defaults);
        let in_time = {
            let run = pin!(self.run_until(|session| !session.awaits_first_frame()));
            tokio::time::timeout(FIRST_FRAME_TIMEOUT, run).await.is_ok()
        };
        if !in_time && self.awaits_first_frame() {
            let frame = if needs_credentials { "connect or auth" } else { "connect" };
            let message = format!("no {frame} frame arrived within {FIRST_FRAME_TIMEOUT:?}");
            // A client without credentials must not reconnect. Any other client may have been busy
            // or suspended.
            let code = if needs_credentials { CloseCode::Unauthorized } else { CloseCode::NoPong };
            let mut worker = self.context.worker.borrow_mut();
            let error = FrameError::new("request_timeout", message);
            reject_first_frame(&mut worker, self.key, error, code);
            worker.flush();
        }
        match std::mem::take(&mut self.phase) {
            Phase::HasFirstFrame { frame, .. } => Some(*frame),
            Phase::Open | Phase::AwaitsFirstFrame { .. } | Phase::HasToken(_) => None,
        }
    }

    /// Closes the connection because its credentials are refused. If they were sent in a frame of
    /// this type, or are missing there, sends an `error` frame first.
    fn deny(&self, denial: Denial, frame: Option<&'static str>) {
        if let Some(frame) = frame {
            self.report_error(denial.to_frame_error(frame));
        }
        self.close(&denial.into());
    }
}
