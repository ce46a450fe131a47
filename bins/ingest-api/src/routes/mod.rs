//! The routes of ingest-api.

mod body;
mod chat;
mod dummy;
mod messages;
mod plays;
mod response;
mod visits;
mod write;

use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig};
use mayfly_core::{IdGenerator, limits};
use mayfly_hot::{ExhaustedClients, HotStore};
use mayfly_http::{
    resource,
    routes::{self, Route},
};
use mayfly_runtime::{Service, Settings};

use crate::{messages::MessageIngestion, plays::PlayIngestion, visits::VisitIngestion};

/// Returns a function that registers the routes. Each HTTP thread has its own connections to Redis.
pub fn configure(
    hot: HotStore,
    settings: Arc<Settings>,
) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let ids = Arc::new(IdGenerator::default());
    let (message_clients, play_clients, visit_clients) =
        <(ExhaustedClients, ExhaustedClients, ExhaustedClients)>::default();
    let docs = mayfly_openapi::build_docs(Service::IngestApi, &settings);
    move |service| {
        let hot = hot.with_dedicated_connections();
        let messages = MessageIngestion::new(&hot, ids.clone(), &settings, message_clients.clone());
        let messages = Data::new(messages);
        let plays = Data::new(PlayIngestion::new(&hot, &settings, play_clients.clone()));
        let visits = Data::new(VisitIngestion::new(&hot, &settings, visit_clients.clone()));
        let write_by_get = settings.ingest.write_by_get;
        let write = |route: &Route| {
            let write =
                resource(route).body_limit(limits::MESSAGE_BYTES_MAX).post(write::post_write);
            if write_by_get { write.get_without_head(write::get_write) } else { write }
        };
        let single = |route: &Route| resource(route).body_limit(limits::MESSAGE_BYTES_MAX);
        service
            .app_data(messages)
            .app_data(plays)
            .app_data(visits)
            .service(single(&routes::MESSAGES).post(messages::post_message))
            .service(
                resource(&routes::MESSAGES_BATCH)
                    .body_limit(limits::BATCH_BYTES_MAX)
                    .post(messages::post_messages),
            )
            .service(
                resource(&routes::PLAYS)
                    .body_limit(limits::BATCH_BYTES_MAX)
                    .post(plays::post_plays),
            )
            .service(
                resource(&routes::VISITS)
                    .body_limit(limits::BATCH_BYTES_MAX)
                    .post(visits::post_visits),
            )
            .service(write(&routes::WRITE))
            .service(write(&routes::WRITE_SLASH))
            .service(single(&routes::CHAT).post(chat::post_chat))
            .service(single(&routes::CHAT_SLASH).post(chat::post_chat))
            .service(single(&routes::DUMMY).post(dummy::post_dummy))
            .configure(|service| docs.configure(service));
    }
}
