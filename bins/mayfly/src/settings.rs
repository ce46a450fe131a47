//! The configuration, as the services read it.

use anyhow::Result;
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
