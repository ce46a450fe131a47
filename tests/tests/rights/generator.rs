//! Random installations, credentials and requests. The names are short and have few different
//! characters, so that about half of the patterns match.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use fastrand::Rng;
use mayfly_core::limits::API_KEY_HOSTS_MAX;
use mayfly_http::routes::{self, frames::FRAMES};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::reference::{Caller, Key, Patterns, Request, Secret, Site, Token};

/// The secrets of the installation. Each of them verifies tokens.
pub const SECRETS: [&str; 2] =
    ["the first secret of an installation, 32 bytes", "the second secret, of 32 bytes or more"];
const SCOPES: [&str; 5] = ["publish", "subscribe", "read", "take", "operate"];
const RATES: [&str; 3] = ["1/second", "60/minute", "100/day"];
/// Differences from the current time, in seconds. None is closer than 15 s to a limit.
const OFFSETS: [i64; 7] = [-86_400, -3_600, -45, -15, 15, 45, 3_600];

/// A caller, and what it sends.
pub struct Credentials {
    pub caller: Caller,
    /// The key or token.
    pub text: Option<String>,
}

/// A source of random values. Equal seeds result in equal values.
pub struct Generator {
    rng: Rng,
    now: i64,
    /// The names of users and of tokens, so that revocations match some of them.
    usernames: Vec<String>,
    token_ids: Vec<String>,
    key_number: u32,
    endpoints: Vec<(&'static str, &'static str)>,
}

impl Generator {
    /// Creates a generator. `now` is the current time, in seconds since 1970.
    pub fn new(seed: u64, now: i64) -> Self {
        let mut generator = Self {
            rng: Rng::with_seed(seed),
            now,
            usernames: Vec::new(),
            token_ids: Vec::new(),
            key_number: 0,
            endpoints: endpoints(),
        };
        generator.usernames = (0..16).map(|_| generator.name("abB*é ", 4)).collect();
        generator.token_ids = (0..16).map(|_| generator.name("abé:", 4)).collect();
        generator
    }

    /// Returns an installation.
    pub fn site(&mut self) -> Site {
        let revoked_subjects: BTreeMap<_, _> =
            (0..4).map(|_| (self.username(), self.now + self.offset())).collect();
        Site {
            checks_credentials: self.rng.u8(..10) > 0,
            anonymous: if self.rng.bool() { Vec::new() } else { self.scopes() },
            issuers: self.some_of(&["issuer-a", "issuer-b"]),
            audiences: self.some_of(&["audience-a", "audience-b"]),
            revoked_ids: (0..4).map(|_| self.token_id()).collect(),
            revoked_subjects: revoked_subjects.into_iter().collect(),
            now: self.now,
        }
    }

    /// Returns a caller for an installation.
    pub fn credentials(&mut self, site: &Site) -> Credentials {
        match self.rng.u8(..20) {
            0 => Credentials { caller: Caller::Anonymous, text: None },
            1 => {
                let text = *self.pick(&["", "letmein", "a.b.c", "..", "mf_", "mf_a.b.c", "a\nb"]);
                Credentials { caller: Caller::Malformed, text: Some(text.to_owned()) }
            }
            2..10 => {
                self.key_number += 1;
                let text = format!("mf_{:012}_{}", self.key_number, "s".repeat(43));
                Credentials { caller: Caller::Key(self.key()), text: Some(text) }
            }
            _ => {
                let token = self.token(site);
                let text = self.sign(&token);
                Credentials { caller: Caller::Token(token), text: Some(text) }
            }
        }
    }

    /// Returns a request of a random row of the tables of routes and frames.
    pub fn request(&mut self) -> Request {
        let (method, path) = self.endpoints[self.rng.usize(..self.endpoints.len())];
        let (channel, username) = match path {
            "/dummy" => ("dummy".to_owned(), None),
            "/chat" | "/chat/" | "/message/write" | "/message/write/" => {
                ("lobby".to_owned(), Some(self.username()))
            }
            _ => (self.channel(), self.maybe(Self::username)),
        };
        // A filter selects the message of the request.
        let of_channel = self.rng.bool().then(|| channel.clone());
        let of_username = username.clone().filter(|_| self.rng.bool());
        Request {
            method,
            path,
            channel,
            username,
            inbox: self.username(),
            host: self.name("aB.-", 4),
            of_channel,
            of_username,
        }
    }

    fn key(&mut self) -> Key {
        let hosts = if self.rng.u8(..100) == 0 {
            Some((0..API_KEY_HOSTS_MAX).map(|number| format!("{number}.b")).collect())
        } else {
            self.patterns("aB.-*")
        };
        let until = self.now + self.offset();
        Key {
            scopes: self.scopes(),
            channels: self.patterns("ab.:*"),
            usernames: self.patterns("abB*é "),
            hosts,
            limits: [0; 3].map(|_| self.maybe(|own| *own.pick(&RATES))),
            expires_at: self.rarely(|own| own.now + own.offset()),
            is_revoked: self.rng.u8(..12) == 0,
            secret: match self.rng.u8(..12) {
                0 => Secret::Wrong,
                1 => Secret::UnknownKey,
                2 | 3 => Secret::Previous(until),
                _ => Secret::Current,
            },
        }
    }

    fn token(&mut self, site: &Site) -> Token {
        let has_rights = self.rng.u8(..12) > 0;
        let feeds = ["messages", "plays", "rising", "stats", "pulse"];
        Token {
            is_genuine: self.rng.u8(..12) > 0,
            subject: self.mostly(Self::username),
            expires_at: self.mostly(|own| own.now + own.mostly_later()),
            not_before: self.rarely(|own| own.now + own.offset()),
            issued_at: self.maybe(|own| own.now - own.mostly_later()),
            issuer: self.mostly(|own| own.accepted(&site.issuers, "issuer-c")),
            audiences: match self.rng.u8(..8) {
                0 => Vec::new(),
                1 => vec![self.accepted(&site.audiences, "audience-c"), "audience-d".to_owned()],
                _ => vec![self.accepted(&site.audiences, "audience-c")],
            },
            id: self.maybe(Self::token_id),
            publish: self.patterns("ab.:*").filter(|_| has_rights),
            subscribe: self.patterns("ab.:*").filter(|_| has_rights),
            feeds: self.maybe(|own| {
                feeds.into_iter().filter(|_| own.rng.u8(..4) == 0).collect::<Vec<_>>()
            }),
            hosts: self.patterns("aB.-*").filter(|_| has_rights),
            visits: self.patterns("aB.-*").filter(|_| has_rights),
            inbox: self.maybe(|own| own.rng.bool()),
            plays: self.maybe(|own| own.rng.bool()),
        }
    }

    /// Returns a token as text, as the log-in of an application would sign it. A token that is not
    /// genuine is forged in one of several ways.
    fn sign(&mut self, token: &Token) -> String {
        let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let (mut algorithm, mut secret) = ("HS256", *self.pick(&SECRETS));
        let forgery = if token.is_genuine { None } else { Some(self.rng.u8(..6)) };
        match forgery {
            Some(0) => algorithm = "none",
            Some(1) => algorithm = "HS512",
            Some(2) => secret = "a secret that the installation does not have",
            _ => {}
        }
        let mut header = json!({"alg": algorithm, "typ": "JWT"});
        if forgery == Some(5) {
            // No verifier may ignore a critical extension that it does not know.
            header["crit"] = json!(["later"]);
            header["later"] = json!(true);
        }
        let header = encode(&header);
        let payload = encode(&self.claims(token));
        let mac = hmac(secret.as_bytes(), format!("{header}.{payload}").as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac);
        match forgery {
            Some(0) => format!("{header}.{payload}."),
            Some(3) => {
                let mut claims = self.claims(token);
                claims["sub"] = json!("admin");
                format!("{header}.{}.{signature}", encode(&claims))
            }
            Some(4) => format!("{header}.{payload}.{}", &signature[1..]),
            _ => format!("{header}.{payload}.{signature}"),
        }
    }

    fn claims(&mut self, token: &Token) -> Value {
        let audience = match (token.audiences.as_slice(), self.rng.bool()) {
            ([], _) => None,
            ([one], true) => Some(json!(one)),
            (several, _) => Some(json!(several)),
        };
        let rights = [
            ("publish", token.publish.as_ref().map(|list| json!(list))),
            ("subscribe", token.subscribe.as_ref().map(|list| json!(list))),
            ("feeds", token.feeds.as_ref().map(|list| json!(list))),
            ("hosts", token.hosts.as_ref().map(|list| json!(list))),
            ("visits", token.visits.as_ref().map(|list| json!(list))),
            ("inbox", token.inbox.map(|flag| json!(flag))),
            ("plays", token.plays.map(|flag| json!(flag))),
        ];
        let mut rights = to_object(rights);
        if self.rng.u8(..16) == 0 {
            // Members of a later version are ignored.
            rights["later"] = json!(["*"]);
        }
        // Without rights, the claim may be missing.
        let has_claim = rights.as_object().is_some_and(|object| !object.is_empty());
        to_object([
            ("sub", token.subject.as_ref().map(|name| json!(name))),
            ("exp", token.expires_at.map(|time| json!(time))),
            ("nbf", token.not_before.map(|time| json!(time))),
            ("iat", token.issued_at.map(|time| json!(time))),
            ("iss", token.issuer.as_ref().map(|name| json!(name))),
            ("aud", audience),
            ("jti", token.id.as_ref().map(|id| json!(id))),
            ("mayfly", has_claim.then_some(rights)),
        ])
    }

    fn scopes(&mut self) -> Vec<&'static str> {
        // The scope that includes all others is rare.
        SCOPES
            .into_iter()
            .filter(|scope| self.rng.u8(..20) < if *scope == "operate" { 1 } else { 10 })
            .collect()
    }

    /// Returns a list of patterns with these characters, or no list.
    fn patterns(&mut self, alphabet: &str) -> Patterns {
        let count = match self.rng.u8(..10) {
            0..3 => return None,
            3 => 0,
            4 => 16,
            _ => self.rng.usize(1..=3),
        };
        Some((0..count).map(|_| self.pattern(alphabet)).collect())
    }

    fn pattern(&mut self, alphabet: &str) -> String {
        match self.rng.u8(..12) {
            0 => "*".to_owned(),
            1 => "**".to_owned(),
            // The channels of the routes that have no channel in the request.
            2 => self.pick(&["dummy", "lobby", "d*m*", "lobb*", "*y"]).to_string(),
            _ => self.name(alphabet, 5),
        }
    }

    fn name(&mut self, alphabet: &str, length_max: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..self.rng.usize(1..=length_max)).map(|_| *self.pick(&alphabet)).collect()
    }

    fn channel(&mut self) -> String {
        self.name("ab.:", 4)
    }

    fn username(&mut self) -> String {
        let index = self.rng.usize(..self.usernames.len());
        self.usernames[index].clone()
    }

    fn token_id(&mut self) -> String {
        let index = self.rng.usize(..self.token_ids.len());
        self.token_ids[index].clone()
    }

    /// Returns one of the accepted values, or rarely another one.
    fn accepted(&mut self, accepted: &[String], other: &str) -> String {
        if accepted.is_empty() || self.rng.u8(..6) == 0 {
            other.to_owned()
        } else {
            self.pick(accepted).clone()
        }
    }

    fn some_of(&mut self, values: &[&str]) -> Vec<String> {
        let kept = values.iter().filter(|_| self.rng.u8(..3) == 0);
        kept.map(|value| (*value).to_owned()).collect()
    }

    fn offset(&mut self) -> i64 {
        *self.pick(&OFFSETS)
    }

    fn mostly_later(&mut self) -> i64 {
        if self.rng.u8(..3) == 0 { self.offset() } else { 3_600 }
    }

    fn maybe<T>(&mut self, create: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.rng.bool().then(|| create(self))
    }

    fn mostly<T>(&mut self, create: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.rng.u8(..16) > 0).then(|| create(self))
    }

    fn rarely<T>(&mut self, create: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.rng.u8(..4) == 0).then(|| create(self))
    }

    fn pick<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.rng.usize(..values.len())]
    }
}

/// Returns the methods and paths of all routes, and `frame` with the types of the frames that
/// clients send.
pub fn endpoints() -> Vec<(&'static str, &'static str)> {
    let routes = routes::ALL.into_iter().flatten();
    let routes = routes.flat_map(|row| row.endpoints().map(|(method, _)| (method, row.path)));
    routes.chain(FRAMES.map(|frame| ("frame", frame.kind))).collect()
}

fn to_object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let present = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

/// Computes HMAC-SHA256 (RFC 2104), for keys of at most one block. Written here so that the tokens
/// do not depend on the library of the product.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message);
    let outer = Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}
