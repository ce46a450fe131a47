//! The routes of ingest-api, a file a noun.

mod chat;
mod dummy;
mod messages;
mod plays;
mod visits;
mod write;

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::LOCATION},
    web::{Data, ServiceConfig},
};
use bytes::Bytes;
use mayfly_core::{IdGenerator, limits};
use mayfly_hot::Hot;
use mayfly_http::{Problem, resource};
use mayfly_runtime::{Service, Settings};

use crate::{
    ingest::{Accepted, Ingest},
    plays::Plays,
    problems,
    visits::Visits,
};

/// Puts the routes of the service on a server. Every thread that serves has a way of its own into
/// the hot store.
pub fn configure(
    hot: Hot,
    settings: Arc<Settings>,
) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let ids = Arc::new(IdGenerator::default());
    let docs = mayfly_openapi::make_docs(Service::IngestApi, &settings.public);
    move |service| {
        let hot = hot.on_its_own();
        let ingest = Data::new(Ingest::new(&hot, ids.clone(), &settings));
        let plays = Data::new(Plays::new(&hot, &settings));
        let visits = Data::new(Visits::new(&hot, &settings));
        let write_by_get = settings.ingest.write_by_get;
        let write = |path| {
            let write =
                resource(path).body_limit(limits::MESSAGE_BYTES_MAX).post(write::post_write);
            if write_by_get { write.get_without_head(write::get_write) } else { write }
        };
        let one = |path| resource(path).body_limit(limits::MESSAGE_BYTES_MAX);
        service
            .app_data(ingest)
            .app_data(plays)
            .app_data(visits)
            .service(one("/v1/messages").post(messages::post_message))
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
            .service(one("/chat").post(chat::post_chat))
            .service(one("/chat/").post(chat::post_chat))
            .service(one("/dummy").post(dummy::post_dummy))
            .configure(|service| docs.configure(service));
    }
}

/// The body as text.
fn text(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(problems::not_utf8)
}

/// The answer that shows what was accepted.
fn accepted(status: StatusCode, location: String, done: &Accepted) -> HttpResponse {
    let mut answer = HttpResponse::build(status)
        .content_type("application/json")
        .insert_header((LOCATION, location))
        .body(done.json.clone());
    done.receipt.write_headers(answer.headers_mut());
    answer
}
