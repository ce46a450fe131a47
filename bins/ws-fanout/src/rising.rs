//! The feed `rising`: the newest of each host that somebody here watches, as it is published, or as its
//! key says where a publication was lost or forbidden.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use mayfly_core::{Clock, Host, Sighting, SystemClock, Timestamp, frame::ServerFrame};
use mayfly_hot::Publications;
use mayfly_runtime::every;
use serde::Deserialize;
use tracing::{debug, warn};

use crate::{
    batch::{Encoding, encode_json},
    hub::{Hub, News},
    watched::Watched,
    websocket::payload_of,
};

/// How often all watched hosts are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Hosts that are looked for together, whose sightings may have 1 MiB each.
const LOOK_HOSTS: usize = 50;

/// The newest frame of a host, encoded once for all connections.
pub(crate) struct Rising {
    pub(crate) host: Host,
    pub(crate) sampled_at: Timestamp,
    /// Of two frames of a host, the one with the greater number is the newer one.
    pub(crate) number: u64,
    websocket: Bytes,
    /// Made when the first connection wants it.
    events: OnceLock<Bytes>,
}

/// What is read of a sighting before it is known whether anybody wants it.
#[derive(Deserialize)]
struct Head {
    host: Host,
    sampled_at: Timestamp,
}

impl Rising {
    fn encode(sighting: &Sighting) -> Self {
        let frame = ServerFrame::rising(sighting).to_json();
        Self {
            host: sighting.host.clone(),
            sampled_at: sighting.sampled_at,
            number: 0,
            websocket: encode(Encoding::WebSocket, &frame),
            events: OnceLock::new(),
        }
    }

    /// The frame, shared.
    pub(crate) fn bytes(&self, encoding: Encoding) -> Bytes {
        match encoding {
            Encoding::WebSocket => self.websocket.clone(),
            Encoding::Events => self
                .events
                .get_or_init(|| encode(Encoding::Events, payload_of(&self.websocket)))
                .clone(),
        }
    }

    /// Bytes of the frame.
    pub(crate) fn weight(&self) -> usize {
        self.websocket.len()
    }
}

/// States have no position: what is resumed are messages.
fn encode(encoding: Encoding, frame: &[u8]) -> Bytes {
    let mut bytes = Vec::new();
    encode_json(&mut bytes, encoding, None, frame);
    bytes.into()
}

/// Tells the hub what is new of what was published, until it is aborted.
pub(crate) async fn follow(hub: Arc<Hub>, mut sightings: Publications) {
    while let Some(sighting) = sightings.next().await {
        hear(&hub, &sighting).await;
    }
}

/// Looks what lies under the keys of the hosts that are watched, again and again, and of a host that is
/// new here at once; until it is aborted.
pub(crate) async fn look(hub: Arc<Hub>) {
    let mut ticks = every(LOOK_INTERVAL);
    loop {
        let hosts = tokio::select! {
            hosts = hub.watched.wanted() => hosts,
            _ = ticks.tick() => hub.watched.hosts(),
        };
        for hosts in hosts.chunks(LOOK_HOSTS) {
            match hub.hot.find_sightings(hosts).await {
                Ok(sightings) => {
                    for sighting in sightings {
                        hear(&hub, &sighting).await;
                    }
                }
                // What was not found now is found by the next look.
                Err(error) => debug!(%error, "cannot look for what rises"),
            }
        }
    }
}

async fn hear(hub: &Hub, sighting: &[u8]) {
    match take(&hub.watched, sighting, SystemClock.now()) {
        Ok(Some(rising)) => hub.tell(News::Rising(rising)).await,
        Ok(None) => {}
        Err(error) => warn!(%error, "a sighting cannot be read: left out"),
    }
}

/// Keeps what a sighting says, if anybody wants it.
fn take(
    watched: &Watched,
    sighting: &[u8],
    now: Timestamp,
) -> serde_json::Result<Option<Arc<Rising>>> {
    let Head { host, sampled_at } = serde_json::from_slice(sighting)?;
    if !watched.wants(&host, sampled_at, now) {
        return Ok(None);
    }
    Ok(watched.keep(Rising::encode(&serde_json::from_slice(sighting)?), now))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20T19:07:03Z.
    const NOW: Timestamp = Timestamp::from_millis(1_795_201_623_000);

    fn host(name: &str) -> Host {
        Host::parse(name).expect("a host")
    }

    fn sighting(host: &str, time: &str) -> Vec<u8> {
        let sampled_at = format!("2026-11-20T{time}.000Z");
        serde_json::to_vec_pretty(&serde_json::json!({
            "host": host, "sampled_at": sampled_at, "visitors": 3, "exact": true,
            "compared_to": null,
            "pages": [{"path": "/", "title": "a\nb", "visitors": 3, "before": null, "usual": null}],
        }))
        .expect("it is JSON")
    }

    #[test]
    fn of_each_host_that_is_watched_only_what_is_newer_is_news() {
        let watched = Watched::default();
        assert!(watched.watch(&host("a.org")).is_none());
        watched.watch(&host("b.org"));
        let is_news = |host: &str, time: &str| {
            take(&watched, &sighting(host, time), NOW).expect("it is sound").is_some()
        };
        let told = [("A.org", "19:07:02"), ("a.org", "19:07:02"), ("a.org", "19:07:01")];
        assert_eq!(told.map(|(host, time)| is_news(host, time)), [true, false, false]);
        let told = [("b.org", "19:07:01"), ("a.org", "19:07:03"), ("c.org", "19:07:03")];
        assert_eq!(told.map(|(host, time)| is_news(host, time)), [true, true, false]);
        assert_eq!(watched.hosts(), [host("a.org"), host("b.org")]);
        // The clock that is an hour ahead gives way to a true one.
        assert!(is_news("b.org", "22:07:00") && is_news("b.org", "19:07:02"));
        assert!(!is_news("b.org", "19:07:02"));
    }

    #[test]
    fn what_nobody_watches_any_more_is_forgotten() {
        let watched = Watched::default();
        let one = host("a.org");
        watched.watch(&one);
        let told = take(&watched, &sighting("a.org", "19:07:02"), NOW).expect("it is sound");
        let told = told.expect("it is new");
        let held = watched.watch(&one).expect("it is held");
        assert!(Arc::ptr_eq(&told, &held));
        watched.unwatch(&one);
        assert_eq!(watched.hosts(), std::slice::from_ref(&one));
        watched.unwatch(&one);
        assert!(watched.hosts().is_empty() && watched.watch(&one).is_none());
        let again = take(&watched, &sighting("a.org", "19:07:02"), NOW).expect("it is sound");
        assert!(again.expect("it is new here").number > told.number);
    }

    #[test]
    fn a_frame_is_one_line_for_whoever_gets_it() {
        let sighting = serde_json::from_slice(&sighting("a.org", "19:07:02"));
        let rising = Rising::encode(&sighting.expect("a sighting"));
        let frame = rising.bytes(Encoding::WebSocket);
        let frame = str::from_utf8(payload_of(&frame)).expect("it is text");
        assert!(frame.starts_with(r#"{"type":"rising","host":"a.org","#), "{frame}");
        assert_eq!(rising.bytes(Encoding::Events), format!("data: {frame}\n\n"));
        let events = || rising.bytes(Encoding::Events).as_ptr();
        assert_eq!(events(), events());
    }

    #[test]
    fn what_is_no_sighting_is_left_out() {
        let watched = Watched::default();
        watched.watch(&host("a.org"));
        let no_pages = br#"{"host":"a.org","sampled_at":"2026-11-20T19:07:02.000Z"}"#;
        for bad in [&b"[]"[..], b"7", b"{", br#"{"host":"a b"}"#, no_pages] {
            assert!(take(&watched, bad, NOW).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
