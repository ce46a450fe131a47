//! Clients that send too slowly, too much or too many parts. They are refused with the right code,
//! cost little memory, and do not affect other clients.

mod bystanders;
mod floods;
mod slow_clients;

use mayfly_stack::Service;
use mayfly_tests::{World, live::raise_file_limit, short_or_full};
use reqwest::{
    Client,
    header::{AUTHORIZATION, HeaderMap},
};
use tokio::sync::OnceCell;

use crate::access::{self, create_operator};

/// The services with a public port.
const SERVICES: [Service; 3] = [Service::IngestApi, Service::ListApi, Service::WsFanout];

/// A stack, and a key for everything. The client of the stack sends the key.
#[derive(Clone)]
struct Target {
    world: World,
    key: String,
}

/// Returns the stack of all tests of this module, with limits that are off in other tests.
async fn shared() -> Target {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    static KEY: OnceCell<String> = OnceCell::const_new();
    raise_file_limit();
    let setup = access::setup().scale(Service::WsFanout, 1);
    let setup = setup.set("MAYFLY_FANOUT__CLIENT_FRAMES", "50/second");
    let setup = setup.set("MAYFLY_HTTP__BODY_TIMEOUT", short_or_full("2s", "10s"));
    let mut world = setup.share(&WORLD).await;
    let key = KEY.get_or_init(|| create_operator(&world)).await.clone();
    let bearer = format!("Bearer {key}").parse().expect("a header value");
    let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
    world.http = Client::builder().default_headers(headers).build().expect("the client is built");
    Target { world, key }
}

/// Returns the address of a service.
fn address(target: &Target, service: Service) -> String {
    target.world.url(service, "").replace("http://", "")
}
