//! The address of a feed.

use std::fmt::{self, Display, Formatter};

use form_urlencoded::Serializer;
use mayfly_core::Channel;

const PATH: &str = "/v1/live";

/// The supported schemes. The client does not support TLS, because it connects to ws-fanout
/// directly.
const SCHEMES: [&str; 2] = ["http://", "ws://"];
const TLS_SCHEMES: [&str; 2] = ["https://", "wss://"];

/// The address of a feed. The `messages` feed can be filtered by channel.
#[derive(Debug)]
pub struct FeedAddress {
    url: String,
    /// The channels. An empty list means all channels.
    channels: Vec<Channel>,
    /// The feed. `None` means `messages`.
    feed: Option<&'static str>,
}

/// An error in the URL of a feed.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAddress {
    /// The URL requires TLS.
    #[error(
        "{0:?} requires TLS, which this command does not support: use the URL of ws-fanout itself"
    )]
    RequiresTls(String),
    /// The URL is malformed, has an unsupported scheme, or contains credentials, a query or a
    /// fragment.
    #[error(
        "{0:?} is not a valid URL: expected http:// or ws://, without credentials and without a \
         query"
    )]
    Malformed(String),
}

impl FeedAddress {
    /// Creates the address of the `messages` feed from the URL of ws-fanout, with or without the
    /// path `/v1/live`. An empty list of channels means all channels.
    pub fn new(url: &str, channels: Vec<Channel>) -> Result<Self, InvalidAddress> {
        if TLS_SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
            return Err(InvalidAddress::RequiresTls(redact(url)));
        }
        let rest = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
        let Some(rest) = rest.filter(|rest| !rest.is_empty() && !rest.contains(['?', '#', '@']))
        else {
            return Err(InvalidAddress::Malformed(redact(url)));
        };
        let base = rest.trim_end_matches('/');
        let base = base.strip_suffix(PATH).unwrap_or(base);
        Ok(Self { url: format!("ws://{base}{PATH}"), channels, feed: None })
    }

    /// Creates the address of a feed other than `messages`.
    pub fn with_feed(url: &str, feed: &'static str) -> Result<Self, InvalidAddress> {
        Ok(Self { feed: Some(feed), ..Self::new(url, Vec::new())? })
    }

    /// Returns the URL for a connection that resumes after `position`. Without a position, the URL
    /// requests no replay of missed messages. The server waits for a `connect` frame.
    pub fn connection_url(&self, position: Option<&str>) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("connect", "frame");
        query.extend_pairs(self.feed.map(|feed| ("feed", feed)));
        query.extend_pairs(self.channels.iter().map(|channel| ("channel", channel.as_str())));
        query.extend_pairs(position.map(|position| ("since", position)));
        format!("{}?{}", self.url, query.finish())
    }
}

/// Returns a URL for an error message: without credentials and query, which can contain secrets.
fn redact(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        (None, Some((_, rest))) => rest.to_owned(),
        (_, None) => url.to_owned(),
    }
}

impl Display for FeedAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(feed) = self.feed {
            return write!(f, "{}, feed {feed}", self.url);
        }
        let names: Vec<_> = self.channels.iter().map(Channel::as_str).collect();
        match names.as_slice() {
            [] => write!(f, "{}, all channels", self.url),
            [name] => write!(f, "{}, channel {name}", self.url),
            names => write!(f, "{}, channels {}", self.url, names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(names: &[&str]) -> Vec<Channel> {
        names.iter().map(|name| Channel::parse(*name).expect("a valid channel")).collect()
    }

    #[test]
    fn public_url_is_extended_with_the_path() {
        for url in ["http://h:8080", "http://h:8080/", "ws://h:8080", "ws://h:8080/v1/live"] {
            let address = FeedAddress::new(url, Vec::new()).expect("a valid URL");
            assert_eq!(address.connection_url(None), "ws://h:8080/v1/live?connect=frame");
        }
        let address = FeedAddress::new("http://h/live", Vec::new()).expect("a valid URL");
        assert_eq!(address.connection_url(None), "ws://h/live/v1/live?connect=frame");
        for invalid in ["https://h", "wss://h", "h:8080", "ftp://h", "http://", "ws://h/?token=x"] {
            assert!(FeedAddress::new(invalid, Vec::new()).is_err(), "{invalid}");
        }
    }

    #[test]
    fn errors_do_not_contain_secrets() {
        for url in [
            "ws://h/v1/live?token=secret",
            "wss://h/#secret",
            "http://secret@h:8080",
            "https://user:secret@h",
            "user:secret@h",
        ] {
            let error = FeedAddress::new(url, Vec::new()).expect_err("an invalid URL").to_string();
            assert!(!error.contains("secret") && error.contains('h'), "{error}");
        }
    }

    #[test]
    fn query_contains_feed_channels_and_position() {
        let address = FeedAddress::new("ws://h", channels(&["a", "b:c"])).expect("a valid URL");
        let url = "ws://h/v1/live?connect=frame&channel=a&channel=b%3Ac";
        assert_eq!(address.connection_url(None), url);
        assert_eq!(address.connection_url(Some("1.e.5-1")), format!("{url}&since=1.e.5-1"));
        let plays = FeedAddress::with_feed("ws://h", "plays").expect("a valid URL");
        assert_eq!(plays.connection_url(None), "ws://h/v1/live?connect=frame&feed=plays");
    }

    #[test]
    fn description_names_the_feed_or_the_channels() {
        let messages = |names: &[&str]| {
            FeedAddress::new("ws://h", channels(names)).expect("a valid URL").to_string()
        };
        assert_eq!(messages(&[]), "ws://h/v1/live, all channels");
        assert_eq!(messages(&["a"]), "ws://h/v1/live, channel a");
        assert_eq!(messages(&["a", "b"]), "ws://h/v1/live, channels a, b");
        let plays = FeedAddress::with_feed("ws://h", "plays").expect("a valid URL");
        assert_eq!(plays.to_string(), "ws://h/v1/live, feed plays");
    }
}
