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
use mayfly_http::resource;
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
    let docs = mayfly_openapi::build_docs(Service::IngestApi, &settings.public);
    move |service| {
        let hot = hot.with_dedicated_connections();
        let messages = MessageIngestion::new(&hot, ids.clone(), &settings, message_clients.clone());
        let messages = Data::new(messages);
        let plays = Data::new(PlayIngestion::new(&hot, &settings, play_clients.clone()));
        let visits = Data::new(VisitIngestion::new(&hot, &settings, visit_clients.clone()));
        let write_by_get = settings.ingest.write_by_get;
        let write = |path| {
            let write =
                resource(path).body_limit(limits::MESSAGE_BYTES_MAX).post(write::post_write);
            if write_by_get { write.get_without_head(write::get_write) } else { write }
        };
        let single = |path| resource(path).body_limit(limits::MESSAGE_BYTES_MAX);
        service
            .app_data(messages)
            .app_data(plays)
            .app_data(visits)
            .service(single("/v1/messages").post(messages::post_message))
            .service(
                resource("/v1/messages/batch")
                    .body_limit(limits::BATCH_BYTES_MAX)
                    .post(messages::post_messages),
            )
            .service(
                resource("/v1/plays").body_limit(limits::BATCH_BYTES_MAX).post(plays::post_plays),
            )
            .service(
                resource("/v1/visits")
                    .body_limit(limits::BATCH_BYTES_MAX)
                    .post(visits::post_visits),
            )
            .service(write("/message/write"))
            .service(write("/message/write/"))
            .service(single("/chat").post(chat::post_chat))
            .service(single("/chat/").post(chat::post_chat))
            .service(single("/dummy").post(dummy::post_dummy))
            .configure(|service| docs.configure(service));
    }
}
