//! The routes of list-api, a file a noun.

mod chats;
mod hosts;
mod inbox;
mod increasing;
mod messages;
mod plays;
mod pulse;
mod stats;

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    web::{Data, ServiceConfig},
};
use mayfly_cold::Cold;
use mayfly_core::limits;
use mayfly_hot::Hot;
use mayfly_http::resource;
use mayfly_runtime::{Service, Settings};
use serde::Deserialize;

use crate::{
    counts::Counts,
    hosts::{Hosts, KeptAnswers},
    increasing::{Increasing, KeptIncreases},
    listing::Listing,
    statistics::{Link, Statistics},
};

/// Puts the routes of the service on a server. Every thread that serves has a way of its own to the
/// hot store.
pub fn configure(
    hot: Hot,
    cold: Cold,
    stats: Arc<Link>,
    settings: Arc<Settings>,
) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let docs = mayfly_openapi::make_docs(Service::ListApi, &settings.public);
    let (answers, increases) = (Arc::new(KeptAnswers::new()), Arc::new(KeptIncreases::new()));
    move |service| {
        let hot = hot.on_its_own();
        let listing = Data::new(Listing::new(hot.clone(), cold.clone(), &settings));
        let counts = Data::new(Counts::new(hot.clone(), cold.clone()));
        let hosts = Data::new(Hosts::new(hot.clone(), cold.clone(), &settings, answers.clone()));
        let increasing = Data::new(Increasing::new(hot.clone(), &settings, increases.clone()));
        let statistics = Data::new(Statistics::new(hot, stats.clone()));
        let chats_get = settings.list.chats_get;
        let chats = resource("/chats/{username}");
        let chats = if chats_get {
            chats.get_without_head(chats::get_chats).head(chats::head_chats)
        } else {
            chats
        };
        service
            .app_data(listing)
            .app_data(counts)
            .app_data(statistics)
            .app_data(hosts)
            .app_data(increasing)
            .service(resource("/v1/messages").get(messages::list_messages))
            .service(
                resource("/v1/messages/{id}")
                    .get(messages::get_message)
                    .delete(messages::delete_message),
            )
            .service(resource("/v1/users/{username}/messages").get(inbox::list_inbox))
            .service(resource("/v1/users/{username}/messages/take").post(inbox::take_inbox))
            .service(resource("/chat/{id}").get(messages::get_message))
            .service(chats)
            .service(resource("/v1/plays").get(plays::list_plays))
            .service(resource("/v1/plays/{video_id}").get(plays::get_plays))
            .service(resource("/v1/hosts/{host}/pages").get(hosts::list_pages))
            .service(resource("/v1/hosts/{host}/rising").get(hosts::list_rising))
            .service(resource("/v1/hosts/{host}/history").get(hosts::get_history))
            .service(resource("/api/v1.0/increasingconcurrents").get(increasing::list_increases))
            .service(resource("/v1/pulse").get(pulse::get_pulse))
            .service(resource("/v1/stats").get(stats::get_stats))
            .service(resource("/stat/get").get(stats::get_stats))
            .service(resource("/stat/get/").get(stats::get_stats))
            .configure(|service| docs.configure(service));
    }
}

/// How many items an answer may hold: 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Limit(u32);

impl TryFrom<u32> for Limit {
    type Error = &'static str;

    fn try_from(limit: u32) -> Result<Self, &'static str> {
        if (1..=limits::PAGE_ITEMS_MAX).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err("must be 1 to 1000")
        }
    }
}

/// The one parameter of an inbox.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitParameter {
    limit: Option<Limit>,
}

impl LimitParameter {
    fn or(&self, default: u32) -> u32 {
        self.limit.map_or(default, |limit| limit.0)
    }
}

/// An answer that is JSON already.
fn json(body: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body)
}

/// A JSON array of messages that are JSON already.
fn array<'a>(messages: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = Vec::with_capacity(messages.len() * 256 + 128);
    body.push(b'[');
    for (place, message) in messages.enumerate() {
        if place > 0 {
            body.push(b',');
        }
        body.extend_from_slice(message);
    }
    body.push(b']');
    body
}

/// `{"items":[…],…}`: the items, then what comes after them.
fn items<'a>(messages: impl ExactSizeIterator<Item = &'a [u8]>, after: &str) -> Vec<u8> {
    let mut body = b"{\"items\":".to_vec();
    body.append(&mut array(messages));
    body.extend_from_slice(after.as_bytes());
    body.push(b'}');
    body
}
