//! `mayfly token`: signs tokens, and revokes them.
//!
//! A revocation is written to Postgres first, then to Redis, where the services look it up. If
//! Redis is unavailable, a persist-worker copies the revocation later.

mod create;
mod list;
mod revoke;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use mayfly_cold::ColdStore;

use crate::command_line::Tokens;
use crate::settings::load_settings;

pub(crate) async fn token(command: Tokens) -> Result<ExitCode> {
    let settings = load_settings()?;
    let cold = ColdStore::new(&settings.postgres);
    match command {
        Tokens::Create(options) => create::create(&settings.auth, options),
        Tokens::Revoke(options) => revoke::revoke(&settings, &cold, &options).await,
        Tokens::List(options) => list::list(&cold, &options).await,
    }
}
