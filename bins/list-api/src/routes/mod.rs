//! The routes of list-api.

mod chats;
mod hosts;
mod inbox;
mod increasing;
mod messages;
mod parameters;
mod plays;
mod pulse;
mod response;
mod stats;

use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig};
use mayfly_authenticator::Authenticator;
use mayfly_cold::ColdStore;
use mayfly_hot::{HotStore, InboxSlots};
use mayfly_http::{resource, routes};
use mayfly_runtime::{Service, Settings};

use crate::{
    hosts::{HostCaches, HostQueries},
    increasing::{IncreaseCaches, IncreaseQueries},
    messages::MessageQueries,
    plays::PlayCountQueries,
    pulse::PulseQueries,
    snapshot::{SnapshotQueries, SnapshotUrl},
};

/// Returns a function that registers the routes. Each HTTP thread has its own connections to Redis.
pub fn configure(
    hot: HotStore,
    cold: ColdStore,
    authenticator: Arc<Authenticator>,
    snapshot_url: Arc<SnapshotUrl>,
    settings: Arc<Settings>,
) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let docs = mayfly_openapi::build_docs(Service::ListApi, &settings);
    let host_caches = Arc::new(HostCaches::new());
    let increase_caches = Arc::new(IncreaseCaches::new());
    let inbox_slots = InboxSlots::new(&hot, settings.list.inboxes_max);
    move |service| {
        let hot = hot.with_dedicated_connections();
        let messages =
            MessageQueries::new(hot.clone(), cold.clone(), &settings, inbox_slots.clone());
        let hosts = HostQueries::new(hot.clone(), cold.clone(), &settings, host_caches.clone());
        let increases = IncreaseQueries::new(
            hot.clone(),
            authenticator.clone(),
            &settings,
            increase_caches.clone(),
        );
        let snapshot = SnapshotQueries::new(hot.clone(), snapshot_url.clone());
        let chats_get = settings.list.chats_get;
        let chats = resource(&routes::CHATS);
        let chats = if chats_get {
            chats.get_without_head(chats::get_chats).head(chats::head_chats)
        } else {
            chats
        };
        service
            .app_data(Data::new(messages))
            .app_data(Data::new(PlayCountQueries::new(hot.clone(), cold.clone())))
            .app_data(Data::new(PulseQueries::new(hot)))
            .app_data(Data::new(snapshot))
            .app_data(Data::new(hosts))
            .app_data(Data::new(increases))
            .service(resource(&routes::MESSAGES).get(messages::list_messages))
            .service(
                resource(&routes::MESSAGE)
                    .get(messages::get_message)
                    .delete(messages::delete_message),
            )
            .service(resource(&routes::INBOX).get(inbox::list_inbox))
            .service(resource(&routes::INBOX_TAKE).post(inbox::take_inbox))
            .service(resource(&routes::CHAT_MESSAGE).get(messages::get_message))
            .service(chats)
            .service(resource(&routes::PLAYS).get(plays::list_plays))
            .service(resource(&routes::VIDEO_PLAYS).get(plays::get_plays))
            .service(resource(&routes::HOST_PAGES).get(hosts::list_pages))
            .service(resource(&routes::HOST_RISING).get(hosts::list_rising))
            .service(resource(&routes::HOST_HISTORY).get(hosts::get_history))
            .service(resource(&routes::INCREASING).get(increasing::list_increases))
            .service(resource(&routes::PULSE).get(pulse::get_pulse))
            .service(resource(&routes::STATS).get(stats::get_stats))
            .service(resource(&routes::STAT_GET).get(stats::get_stats))
            .service(resource(&routes::STAT_GET_SLASH).get(stats::get_stats))
            .configure(|service| docs.configure(service));
    }
}
