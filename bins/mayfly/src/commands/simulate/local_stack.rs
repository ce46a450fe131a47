//! The stack of this checkout, which a simulation changes for its own time.

use std::fs::File;

use anyhow::{Context as _, Result, bail};
use mayfly_runtime::Settings;
use mayfly_stack::{Part, Readiness, Service, Spec, StackEnv};
use secrecy::SecretString;

use crate::checkout::Checkout;
use crate::command_line::Wishes;
use crate::commands::up::prepare;
use crate::control::{Client, Request, start_supervisor};

/// The setting of how often large counts are published.
const INTERVAL: &str = "MAYFLY_PLAYS__INTERVAL";

/// The stack as it was found, and as it is to be again. No other simulation has it meanwhile.
#[derive(Debug)]
pub(super) struct LocalStack {
    checkout: Checkout,
    before: Spec,
    /// What an operator had stopped.
    stopped: Vec<Part>,
    _turn: File,
}

impl LocalStack {
    /// Finds the stack that runs here, if one does.
    pub(super) async fn find() -> Result<Option<Self>> {
        let checkout = Checkout::enter()?;
        match find_spec().await? {
            Some(before) => Self::take(checkout, before).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same; where none runs, the one that `mayfly up` would start. The first change starts it.
    pub(super) async fn find_or_prepare() -> Result<Self> {
        let checkout = Checkout::enter()?;
        let before = match find_spec().await? {
            Some(spec) => spec,
            None => prepare(&Wishes::of_environment()?, &checkout)?,
        };
        Self::take(checkout, before).await
    }

    async fn take(checkout: Checkout, before: Spec) -> Result<Self> {
        let home = checkout.paths.home();
        std::fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
        let path = home.join("simulate.lock");
        let turn = File::options().create(true).append(true).open(&path);
        let turn = turn.with_context(|| path.display().to_string())?;
        if turn.try_lock().is_err() {
            bail!("another simulation of plays has this stack: wait until it has ended");
        }
        let status = match Client::connect().await {
            Some(mut supervisor) => supervisor.ask_status().await?,
            None => Vec::new(),
        };
        let mut stopped: Vec<_> = status
            .iter()
            .filter(|process| process.readiness == Readiness::Stopped)
            .map(|process| process.instance.part)
            .collect();
        stopped.dedup();
        Ok(Self { checkout, before, stopped, _turn: turn })
    }

    /// How many of a service there are.
    pub(super) fn count(&self, service: Service) -> usize {
        self.before.count(service)
    }

    /// The settings of its services, without where Redis and Postgres are.
    pub(super) fn service_settings(&self) -> Result<Settings> {
        let env = self.before.env.clone().into_iter();
        Settings::from_layers(None, env).context("the settings of the stack")
    }

    /// The same with where they are, while the stack is up.
    pub(super) fn settings(&self) -> Result<Settings> {
        let env = self.env()?;
        let mut settings = self.service_settings()?;
        settings.redis.url = SecretString::from(env.redis_url());
        settings.postgres.url = SecretString::from(env.database_url());
        Ok(settings)
    }

    /// Where everything is, while the stack is up.
    pub(super) fn env(&self) -> Result<StackEnv> {
        let path = self.checkout.paths.stack_env();
        StackEnv::read(&path).with_context(|| path.display().to_string())
    }

    /// Brings it to so many workers and this interval, in seconds; returns when all is ready. Where the interval is
    /// another one, every service is restarted.
    pub(super) async fn change(&self, workers: usize, interval: u64) -> Result<()> {
        let mut spec = self.before.clone().with_scale(Service::PersistWorker, workers);
        if self.service_settings()?.plays.interval.as_millis() != u128::from(interval) * 1_000 {
            spec = spec.with_env(INTERVAL, format!("{interval}s"));
        }
        start_supervisor(&self.checkout).await?.ask(&Request::Apply(Box::new(spec))).await
    }

    /// Brings it to what it was, also while it is being brought to something else.
    pub(super) async fn put_back(&self) -> Result<()> {
        ask(&Request::Apply(Box::new(self.before.clone()))).await?;
        for part in &self.stopped {
            ask(&Request::Stop(*part)).await?;
        }
        Ok(())
    }

    /// Stops all workers.
    pub(super) async fn stop_workers(&self) -> Result<()> {
        ask(&Request::Stop(Service::PersistWorker.into())).await
    }

    /// Starts them again; returns when they are ready.
    pub(super) async fn start_workers(&self) -> Result<()> {
        ask(&Request::Start(Service::PersistWorker.into())).await
    }
}

/// What the stack was brought to last, where one runs.
async fn find_spec() -> Result<Option<Spec>> {
    match Client::connect().await {
        Some(mut supervisor) => supervisor.ask_spec().await,
        None => Ok(None),
    }
}

/// Asks the supervisor for one thing: it takes one request a connection.
async fn ask(request: &Request) -> Result<()> {
    Client::connect().await.context("the supervisor is gone")?.ask(request).await
}
