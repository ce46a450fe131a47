//! The subscriptions that callers request, in every way that the live feeds offer.

use std::fmt;

use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, World,
    live::{Events, FIN, LiveSocket, UpgradeRequest, encode, opcode},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    CHANNEL, HOST,
    callers::{Caller, Patterns, Rights},
};

/// A name to subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// A channel.
    Channel,
    /// A channel, beginning with an earlier message.
    Replay,
    /// All channels that the credentials allow.
    AllChannels,
    /// A feed that has no names.
    Feed(&'static str),
    /// The trending pages of a host.
    Host,
}

/// All names.
pub const NAMES: [Name; 7] = [
    Name::Channel,
    Name::Replay,
    Name::AllChannels,
    Name::Feed("plays"),
    Name::Feed("stats"),
    Name::Feed("pulse"),
    Name::Host,
];

/// A way to send the credentials and the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A handshake with a header and a query.
    Handshake,
    /// A `connect` frame.
    ConnectFrame,
    /// A `subscribe` frame on a connection without subscriptions.
    SubscribeFrame,
    /// An `auth` frame on a connection that subscribed with other credentials.
    AuthFrame,
    /// Server-sent events.
    Events,
}

/// All ways.
pub const WAYS: [Way; 5] =
    [Way::Handshake, Way::ConnectFrame, Way::SubscribeFrame, Way::AuthFrame, Way::Events];

/// The expected outcome of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The credentials are refused, or do not allow live connections.
    Refused,
    /// The connection is open, without the name.
    Forbidden,
    /// The connection receives the name.
    Allowed,
}

/// A subscription of a caller.
#[derive(Clone, Copy)]
pub struct Subscription<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// The way.
    pub way: Way,
    /// The name.
    pub name: Name,
}

/// An open connection, with the frames that it has received.
pub struct Open {
    source: Source,
    frames: Vec<Value>,
}

enum Source {
    Socket(Box<LiveSocket>),
    Stream(Events),
}

impl fmt::Display for Subscription<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} of {:?}, {}", self.way, self.name, self.caller.name)
    }
}

impl Subscription<'_> {
    /// Returns whether the subscription can be requested.
    pub fn is_possible(&self) -> bool {
        match self.way {
            // Without credentials, the server waits for the first frame.
            Way::Handshake => self.caller.credentials.is_some(),
            // These frames have no position, and a frame without a token is invalid.
            Way::SubscribeFrame => self.name != Name::Replay,
            Way::AuthFrame => self.name != Name::Replay && self.caller.credentials.is_some(),
            Way::ConnectFrame | Way::Events => true,
        }
    }

    /// Returns the expected outcome, from the documentation of keys and tokens.
    pub fn expect(&self) -> Outcome {
        let is_allowed = match &self.caller.rights {
            Rights::Nobody => return Outcome::Refused,
            Rights::Key(key) if key.scopes.contains(&"operate") => true,
            Rights::Key(key) if !key.scopes.contains(&"subscribe") => return Outcome::Refused,
            Rights::Key(key) => match self.name {
                // A subscription delivers messages of every username.
                Name::AllChannels => key.usernames == Patterns::Missing,
                Name::Channel | Name::Replay => {
                    key.channels != Patterns::Other && key.usernames == Patterns::Missing
                }
                Name::Feed(_) => true,
                Name::Host => key.hosts != Patterns::Other,
            },
            Rights::Token(token) => {
                let list = |name: &str| token.claim[name].as_array();
                let is_matching = |name: &str| list(name).is_some_and(|list| list[0] != "other.*");
                let has_feed = |feed: &str| {
                    list("feeds").is_some_and(|feeds| feeds.iter().any(|one| one == feed))
                };
                match self.name {
                    _ if list("subscribe").is_none() && list("feeds").is_none() => {
                        return Outcome::Refused;
                    }
                    Name::AllChannels => list("subscribe").is_some(),
                    Name::Channel | Name::Replay => is_matching("subscribe"),
                    Name::Feed(feed) => has_feed(feed),
                    Name::Host => has_feed("rising") && is_matching("hosts"),
                }
            }
        };
        match (is_allowed, self.way) {
            (true, _) => Outcome::Allowed,
            // An event stream has no frames for errors.
            (false, Way::Events) => Outcome::Refused,
            (false, _) => Outcome::Forbidden,
        }
    }

    /// Returns whether the connection receives the messages of the channel.
    pub fn receives_messages(&self) -> bool {
        let as_channel = Self { name: Name::Channel, ..*self };
        matches!(self.name, Name::Channel | Name::Replay | Name::AllChannels)
            && as_channel.expect() == Outcome::Allowed
    }

    /// Requests the subscription. Returns the outcome, and the connection if it is open with the
    /// rights of the caller.
    pub async fn request(
        &self,
        world: &World,
        operator: &str,
        since: &str,
    ) -> (Outcome, Option<Open>) {
        if self.way == Way::Events {
            return self.open_stream(world, since).await;
        }
        let mut live = match (self.way, &self.caller.credentials) {
            (Way::Handshake, Some(credentials)) => {
                let url = world.live_url(&self.query(since));
                let bearer = format!("Bearer {credentials}");
                let request = UpgradeRequest::new(&url).header("authorization", &bearer);
                request.send().await.expect("the socket opens")
            }
            _ => LiveSocket::connect(&world.live_url("connect=frame")).await,
        };
        for frame in self.client_frames(operator, since) {
            let frame = encode(FIN | opcode::TEXT, frame.to_string().as_bytes());
            // The server may have closed the connection already.
            if live.send_raw(&frame).await.is_err() {
                break;
            }
        }
        let mut open = Open { source: Source::Socket(Box::new(live)), frames: Vec::new() };
        let is_open = open.read_until(|frame| frame["type"] == "pong").await;
        let outcome = self.find_outcome(&open.frames, is_open);
        (outcome, (outcome != Outcome::Refused).then_some(open))
    }

    /// Returns the outcome that the frames of the server show.
    fn find_outcome(&self, frames: &[Value], is_open: bool) -> Outcome {
        let accepted = if self.way == Way::AuthFrame { "authenticated" } else { "hello" };
        if !is_open || !frames.iter().any(|frame| frame["type"] == accepted) {
            return Outcome::Refused;
        }
        let reply_to = match self.way {
            // The feed of all channels was refused before the `subscribe` frame.
            Way::SubscribeFrame if self.name == Name::AllChannels => "connect",
            Way::SubscribeFrame => "subscribe",
            Way::AuthFrame => "auth",
            _ => "connect",
        };
        let is_forbidden = frames.iter().any(|frame| {
            frame["type"] == "error"
                && frame["code"] == "forbidden"
                && frame["reply_to"] == reply_to
                && self.is_named_in(frame)
        });
        if is_forbidden { Outcome::Forbidden } else { Outcome::Allowed }
    }

    /// Returns whether an `error` frame reports the name.
    fn is_named_in(&self, error: &Value) -> bool {
        let contains = |list: &str, name: &str| {
            error[list].as_array().is_some_and(|names| names.iter().any(|one| one == name))
        };
        match self.name {
            Name::Channel | Name::Replay => contains("channels", CHANNEL),
            Name::AllChannels => contains("feeds", "messages"),
            Name::Feed(feed) => contains("feeds", feed),
            Name::Host => contains("feeds", "rising") || contains("hosts", HOST),
        }
    }

    /// Returns the frames of the client, and a `ping`, whose reply follows all other replies.
    fn client_frames(&self, operator: &str, since: &str) -> Vec<Value> {
        let typed = |kind: &str, token: Option<&str>, mut fields: Value| {
            fields["type"] = kind.into();
            if let Some(token) = token {
                fields["token"] = token.into();
            }
            fields
        };
        let token = self.caller.credentials.as_deref();
        let mut frames = match self.way {
            Way::Handshake | Way::Events => Vec::new(),
            Way::ConnectFrame => vec![typed("connect", token, self.fields(since))],
            Way::SubscribeFrame => vec![
                typed("connect", token, json!({"channels": []})),
                typed("subscribe", None, self.fields(since)),
            ],
            Way::AuthFrame => vec![
                typed("connect", Some(operator), self.fields(since)),
                typed("auth", token, json!({})),
            ],
        };
        frames.push(json!({"type": "ping"}));
        frames
    }

    /// Returns the name as fields of a frame.
    fn fields(&self, since: &str) -> Value {
        match self.name {
            Name::Channel => json!({"channels": [CHANNEL]}),
            Name::Replay => json!({"channels": [CHANNEL], "since": since}),
            Name::AllChannels => json!({"channels": ["*"]}),
            Name::Feed(feed) => json!({"channels": [], "feeds": [feed]}),
            Name::Host => json!({"channels": [], "feeds": ["rising"], "hosts": [HOST]}),
        }
    }

    /// Returns the name as a query.
    fn query(&self, since: &str) -> String {
        match self.name {
            Name::Channel => format!("channel={CHANNEL}"),
            Name::Replay => format!("channel={CHANNEL}&since={since}"),
            Name::AllChannels => String::new(),
            Name::Feed(feed) => format!("feed={feed}"),
            Name::Host => format!("feed=rising&host={HOST}"),
        }
    }

    async fn open_stream(&self, world: &World, since: &str) -> (Outcome, Option<Open>) {
        let url = world.url(Service::WsFanout, &format!("/v1/events?{}", self.query(since)));
        let request = world.http.get(url);
        let request = match &self.caller.credentials {
            Some(credentials) => request.bearer_auth(credentials),
            None => request,
        };
        match Events::open(request).await {
            Ok(stream) => {
                let open = Open { source: Source::Stream(stream), frames: Vec::new() };
                (Outcome::Allowed, Some(open))
            }
            Err(refused) => {
                self.check_refusal(&refused);
                (Outcome::Refused, None)
            }
        }
    }

    fn check_refusal(&self, refused: &ApiResponse) {
        let (status, code) = match self.caller.rights {
            Rights::Nobody => (401, "unauthorized"),
            Rights::Key(_) | Rights::Token(_) => (403, "forbidden"),
        };
        assert!(refused.status == status, "{self}: {} {}", refused.status, refused.text());
        refused.expect_problem(status, code);
    }
}

impl Open {
    /// Reads frames until one that `is_last`. Returns whether it was received before the connection
    /// ended.
    pub async fn read_until(&mut self, is_last: impl Fn(&Value) -> bool) -> bool {
        loop {
            let next = timeout(DEFAULT_TIMEOUT, self.next()).await;
            let Some(frame) = next.expect("a frame arrives in time") else { return false };
            let is_found = is_last(&frame);
            self.frames.push(frame);
            if is_found {
                return true;
            }
        }
    }

    /// Receives the next frame, or `None` if the connection ends.
    async fn next(&mut self) -> Option<Value> {
        match &mut self.source {
            Source::Socket(live) => {
                let text = live.next_text().await.ok()?;
                Some(serde_json::from_slice(&text).expect("a frame is JSON"))
            }
            Source::Stream(stream) => Some(stream.next().await.json()),
        }
    }

    /// Reads everything that the connection receives before the reply to a `ping`.
    pub async fn read_all(&mut self) {
        let Source::Socket(live) = &mut self.source else { panic!("a stream has no pings") };
        live.send_text(r#"{"type":"ping"}"#).await;
        self.frames.retain(|frame| frame["type"] != "pong");
        assert!(self.read_until(|frame| frame["type"] == "pong").await, "the connection is open");
    }

    /// Returns the texts of the received messages that begin with a prefix.
    pub fn texts(&self, prefix: &str) -> Vec<&str> {
        let texts = self.frames.iter().filter_map(|frame| frame["message"]["text"].as_str());
        texts.filter(|text| text.starts_with(prefix)).collect()
    }

    /// Returns whether a frame of this type has been received.
    pub fn has_received(&self, kind: &str) -> bool {
        self.frames.iter().any(|frame| frame["type"] == kind)
    }
}
