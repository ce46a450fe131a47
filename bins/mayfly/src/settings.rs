//! The configuration of the commands. The commands use the configuration of the services and, while
//! the local stack runs, the addresses of the stack.

use anyhow::{Result, ensure};
use mayfly_runtime::Settings;
use mayfly_stack::control::Checkout;
use mayfly_stack::{Service, StackEnv};
use secrecy::SecretString;

/// Loads the configuration. While the local stack runs, the commands use its Redis, Postgres and
/// ws-fanout unless the environment sets other addresses or selects a configuration file.
pub(crate) fn load_settings() -> Result<Settings> {
    let mut settings = Settings::load()?;
    let Some(env) = find_stack_env() else { return Ok(settings) };
    if !env.redis_url().is_empty()
        && is_unset(&["REDIS_URL", "MAYFLY_REDIS__URL", "MAYFLY_REDIS__URL_FILE", "MAYFLY_CONFIG"])
    {
        settings.redis.url = SecretString::from(env.redis_url());
    }
    let postgres_url = ["DATABASE_URL", "MAYFLY_POSTGRES__URL", "MAYFLY_POSTGRES__URL_FILE"];
    if !env.database_url().is_empty() && is_unset(&postgres_url) && is_unset(&["MAYFLY_CONFIG"]) {
        settings.postgres.url = SecretString::from(env.database_url());
    }
    if let Some(url) = env.urls(Service::WsFanout).into_iter().next()
        && is_unset(&["MAYFLY_PUBLIC__LIVE_URL", "MAYFLY_CONFIG"])
    {
        settings.public.live_url = url;
    }
    Ok(settings)
}

/// Returns the public URLs of a service. While the local stack runs, these are the URLs of all
/// instances of the service, unless the environment sets a URL or selects a configuration file.
pub(crate) fn find_urls(service: Service) -> Result<Vec<String>> {
    let public = Settings::load()?.public;
    let (name, url) = match service {
        Service::IngestApi => ("MAYFLY_PUBLIC__INGEST_URL", public.ingest_url),
        Service::ListApi => ("MAYFLY_PUBLIC__LIST_URL", public.list_url),
        _ => ("MAYFLY_PUBLIC__LIVE_URL", public.live_url),
    };
    let local_urls = find_stack_env().map(|env| env.urls(service)).unwrap_or_default();
    let urls = if is_unset(&[name, "MAYFLY_CONFIG"]) && !local_urls.is_empty() {
        local_urls
    } else {
        vec![url]
    };
    ensure!(
        urls.iter().all(|url| !url.is_empty()),
        "the URL of {} is unknown: start the local stack with `make up`, or set --url or {name}",
        service.name()
    );
    Ok(urls)
}

fn is_unset(names: &[&str]) -> bool {
    names.iter().all(|name| std::env::var_os(name).is_none())
}

/// Returns the addresses of this checkout's stack, or `None` if the stack is down.
fn find_stack_env() -> Option<StackEnv> {
    let checkout = Checkout::enter().ok()?;
    if !checkout.is_supervised() {
        return None;
    }
    StackEnv::read(&checkout.paths.stack_env()).ok()
}
