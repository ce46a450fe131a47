//! Says once a second how many connections there are, and how much they were handed, of which the pulse
//! is made; and which hosts they watch, for these are sampled.

use std::{sync::Arc, time::Duration};

use mayfly_core::{Host, limits::WATCHED_HOSTS_MAX};
use mayfly_hot::Hot;
use mayfly_runtime::every;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::hub::Hub;

const INTERVAL: Duration = Duration::from_secs(1);

/// Says it until aborted. Who is silent for some seconds is left out.
pub(crate) async fn report(hub: Arc<Hub>, hot: Hot) {
    let name = Uuid::now_v7().simple().to_string();
    let mut ticks = every(INTERVAL);
    let mut is_cut = false;
    loop {
        ticks.tick().await;
        if let Err(error) = hot.report_fanout(&name, hub.report()).await {
            debug!(%error, "cannot say how many connections there are");
        }
        let hosts = cut(hub.watched.hosts(), &mut is_cut);
        if !hosts.is_empty()
            && let Err(error) = hot.watch_hosts(&hosts).await
        {
            debug!(%error, "cannot say which hosts are watched");
        }
    }
}

/// The first hosts by name, as many as may be said; warns once where there are more.
fn cut(mut hosts: Vec<Host>, is_cut: &mut bool) -> Vec<Host> {
    let watched = hosts.len();
    let was_cut = std::mem::replace(is_cut, watched > WATCHED_HOSTS_MAX);
    if *is_cut && !was_cut {
        warn!(
            hosts.watched = watched,
            hosts.max = WATCHED_HOSTS_MAX,
            "too many hosts are watched: only the first ones are sampled for that"
        );
    }
    hosts.truncate(WATCHED_HOSTS_MAX);
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_hosts_are_said_to_be_watched_than_may_be() {
        let hosts = |count: usize| {
            (0..count).map(|number| Host::parse(format!("h{number}")).expect("a host")).collect()
        };
        let mut is_cut = false;
        assert_eq!(
            (cut(hosts(WATCHED_HOSTS_MAX), &mut is_cut).len(), is_cut),
            (WATCHED_HOSTS_MAX, false)
        );
        assert_eq!(
            (cut(hosts(WATCHED_HOSTS_MAX + 1), &mut is_cut).len(), is_cut),
            (WATCHED_HOSTS_MAX, true)
        );
        assert_eq!((cut(hosts(1), &mut is_cut).len(), is_cut), (1, false));
    }
}
