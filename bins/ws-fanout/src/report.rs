//! Says once a second how many connections there are, and how much they were handed: the pulse is made
//! of what all processes say.

use std::{sync::Arc, time::Duration};

use mayfly_hot::Hot;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;
use uuid::Uuid;

use crate::hub::Hub;

const INTERVAL: Duration = Duration::from_secs(1);

/// Says it until aborted. Who is silent for some seconds is left out.
pub(crate) async fn report(hub: Arc<Hub>, hot: Hot) {
    let name = Uuid::now_v7().simple().to_string();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = hot.report_fanout(&name, hub.report()).await {
            debug!(%error, "cannot say how many connections there are");
        }
    }
}
