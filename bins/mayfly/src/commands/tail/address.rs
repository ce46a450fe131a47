//! Where the feed is.

use anyhow::{Result, bail};
use form_urlencoded::Serializer;
use mayfly_core::Channel;

const PATH: &str = "/v1/live";

/// The schemes that are understood: this is an operator's command, beside the services, and without TLS.
const SCHEMES: [&str; 2] = ["http://", "ws://"];
const ENCRYPTED: [&str; 2] = ["https://", "wss://"];

/// The feed of messages of some channels, all where none is named; or another feed.
#[derive(Debug)]
pub(crate) struct Address {
    url: String,
    channels: Vec<Channel>,
    /// Another feed than that of messages.
    feed: Option<&'static str>,
}

impl Address {
    /// Reads the public URL of ws-fanout, or that of its feed itself.
    pub(crate) fn new(url: &str, channels: Vec<Channel>) -> Result<Self> {
        if ENCRYPTED.iter().any(|scheme| url.starts_with(scheme)) {
            bail!(
                "{url:?} needs TLS, which this command does not speak: give --url of ws-fanout itself"
            );
        }
        let found = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
        let Some(rest) = found.filter(|rest| !rest.is_empty() && !rest.contains(['?', '#'])) else {
            bail!("{url:?} is no URL with http:// or ws:// and without a query");
        };
        let base = rest.trim_end_matches('/');
        let base = base.strip_suffix(PATH).unwrap_or(base);
        Ok(Self { url: format!("ws://{base}{PATH}"), channels, feed: None })
    }

    /// Reads it for another feed than that of messages.
    pub(crate) fn of_feed(url: &str, feed: &'static str) -> Result<Self> {
        Ok(Self { feed: Some(feed), ..Self::new(url, Vec::new())? })
    }

    /// What to connect to, in order to go on behind a position.
    pub(crate) fn behind(&self, position: Option<&str>) -> String {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.feed.map(|feed| ("feed", feed)));
        query.extend_pairs(self.channels.iter().map(|channel| ("channel", channel.as_str())));
        query.extend_pairs(position.map(|position| ("since", position)));
        let query = query.finish();
        if query.is_empty() { self.url.clone() } else { format!("{}?{query}", self.url) }
    }

    /// The feed in words.
    pub(crate) fn describe(&self) -> String {
        let names: Vec<_> = self.channels.iter().map(Channel::as_str).collect();
        match names.as_slice() {
            [] => format!("{}, all channels", self.url),
            [name] => format!("{}, channel {name}", self.url),
            names => format!("{}, channels {}", self.url, names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(names: &[&str]) -> Vec<Channel> {
        names.iter().map(|name| Channel::parse(*name).expect("it is one")).collect()
    }

    #[test]
    fn a_public_url_leads_to_the_feed() {
        for url in ["http://h:8080", "http://h:8080/", "ws://h:8080", "ws://h:8080/v1/live"] {
            let address = Address::new(url, Vec::new()).expect("it is a URL");
            assert_eq!(address.behind(None), "ws://h:8080/v1/live");
        }
        let address = Address::new("http://h/live", Vec::new()).expect("it is a URL");
        assert_eq!(address.behind(None), "ws://h/live/v1/live");
        for refused in ["https://h", "wss://h", "h:8080", "ftp://h", "http://", "ws://h/?token=x"] {
            assert!(Address::new(refused, Vec::new()).is_err(), "{refused}");
        }
    }

    #[test]
    fn channels_and_the_position_stand_in_the_query() {
        let address = Address::new("ws://h", channels(&["a", "b:c"])).expect("it is a URL");
        assert_eq!(address.behind(None), "ws://h/v1/live?channel=a&channel=b%3Ac");
        assert_eq!(
            address.behind(Some("1.e.5-1")),
            "ws://h/v1/live?channel=a&channel=b%3Ac&since=1.e.5-1"
        );
        let plays = Address::of_feed("ws://h", "plays").expect("it is a URL");
        assert_eq!(plays.behind(None), "ws://h/v1/live?feed=plays");
    }
}
