//! `mayfly simulate`: connects the simulations to the local stack and the configuration.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_cold::ColdStore;
use mayfly_hot::HotStore;
use mayfly_simulate::{Simulate, Walk, WalkOptions};
use mayfly_stack::Service;

use crate::command_line::StackOptions;
use crate::commands::audit::count_queued_messages;
use crate::commands::stack::up::prepare_spec;
use crate::settings::{find_urls, load_settings};
use crate::signals::cancel_on_signal;

pub(crate) async fn simulate(command: Simulate) -> Result<ExitCode> {
    match command {
        Simulate::Messages(options) => {
            let urls = urls_or_default(&options.url, Service::IngestApi)?;
            mayfly_simulate::write_messages(&options, urls, cancel_on_signal()?).await
        }
        Simulate::Walk(options) => walk(&options).await,
        Simulate::Plays(options) => {
            let prepare = |checkout: &_| prepare_spec(&StackOptions::from_environment()?, checkout);
            mayfly_simulate::simulate_plays(&options, prepare, cancel_on_signal()?).await
        }
        Simulate::Reset => mayfly_simulate::delete_simulated_videos().await,
    }
}

async fn walk(options: &WalkOptions) -> Result<ExitCode> {
    let settings = load_settings()?;
    let urls = urls_or_default(&options.url, Service::ListApi)?;
    let hot = HotStore::new(&settings.redis)?;
    let cold = ColdStore::new(&settings.postgres);
    let walk = Walk::new(options, urls, &cold)?;
    let count_queued = Box::pin(count_queued_messages(&hot, &cold));
    Box::pin(walk.run(count_queued, cancel_on_signal()?)).await
}

fn urls_or_default(urls: &[String], service: Service) -> Result<Vec<String>> {
    if urls.is_empty() { find_urls(service) } else { Ok(urls.to_vec()) }
}
