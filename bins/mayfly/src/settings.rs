//! The configuration, as the services read it.

use anyhow::{Result, ensure};
use mayfly_runtime::Settings;
use mayfly_stack::{Service, StackEnv};
use secrecy::SecretString;

use crate::checkout::Checkout;

/// Reads the configuration. In a checkout whose stack runs, Redis, Postgres and ws-fanout are the stack's unless the
/// environment says where they are.
pub(crate) fn load_settings() -> Result<Settings> {
    let mut settings = Settings::load()?;
    let Some(env) = find_stack_env() else { return Ok(settings) };
    if !env.redis_url().is_empty() && is_unset(&["REDIS_URL", "MAYFLY_REDIS__URL", "MAYFLY_CONFIG"])
    {
        settings.redis.url = SecretString::from(env.redis_url());
    }
    if !env.database_url().is_empty()
        && is_unset(&["DATABASE_URL", "MAYFLY_POSTGRES__URL", "MAYFLY_CONFIG"])
    {
        settings.postgres.url = SecretString::from(env.database_url());
    }
    if let Some(url) = env.urls(Service::WsFanout).into_iter().next()
        && is_unset(&["MAYFLY_PUBLIC__LIVE_URL", "MAYFLY_CONFIG"])
    {
        settings.public.live_url = url;
    }
    Ok(settings)
}

/// Where all instances of a service are: in the stack of this checkout, while it runs, unless the environment says where
/// it is for callers.
pub(crate) fn find_urls(service: Service) -> Result<Vec<String>> {
    let public = Settings::load()?.public;
    let (name, url) = match service {
        Service::IngestApi => ("MAYFLY_PUBLIC__INGEST_URL", public.ingest_url),
        Service::ListApi => ("MAYFLY_PUBLIC__LIST_URL", public.list_url),
        _ => ("MAYFLY_PUBLIC__LIVE_URL", public.live_url),
    };
    let of_stack = find_stack_env().map(|env| env.urls(service)).unwrap_or_default();
    let urls = if is_unset(&[name, "MAYFLY_CONFIG"]) && !of_stack.is_empty() {
        of_stack
    } else {
        vec![url]
    };
    ensure!(
        urls.iter().all(|url| !url.is_empty()),
        "where is {}? Start the local stack with `make up`, or say so with --url or {name}",
        service.name()
    );
    Ok(urls)
}

fn is_unset(names: &[&str]) -> bool {
    names.iter().all(|name| std::env::var_os(name).is_none())
}

/// The addresses of the stack of this checkout, while it runs.
fn find_stack_env() -> Option<StackEnv> {
    let checkout = Checkout::enter().ok()?;
    if !checkout.is_supervised() {
        return None;
    }
    StackEnv::read(&checkout.paths.stack_env()).ok()
}
