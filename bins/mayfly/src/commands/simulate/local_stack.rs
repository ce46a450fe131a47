//! The stack of this checkout, which a simulation changes for its own time.

use std::fs::{File, TryLockError};

use anyhow::{Context as _, Result, bail};
use mayfly_runtime::Settings;
use mayfly_stack::{Part, Readiness, Service, Spec, StackEnv};
use secrecy::SecretString;
use uuid::Uuid;

use super::note::{Found, Note};
use crate::checkout::Checkout;
use crate::command_line::Wishes;
use crate::commands::up::prepare;
use crate::control::{Client, Request, start_supervisor};
use crate::output::remark;

/// The setting of how often large counts are published.
const INTERVAL: &str = "MAYFLY_PLAYS__INTERVAL";
/// Marks a spec as one of a simulation. No service is told: it has no `__`.
const MARK: &str = "MAYFLY_SIMULATION";

/// The stack as it was found, and as it is to be again. No other simulation has it meanwhile.
#[derive(Debug)]
pub(super) struct LocalStack {
    checkout: Checkout,
    found: Found,
    note: Note,
    _turn: File,
}

impl LocalStack {
    /// Finds the stack that runs here, if one does.
    pub(super) async fn find() -> Result<Option<Self>> {
        let checkout = Checkout::enter()?;
        if Client::connect().await.is_none() {
            return Ok(None);
        }
        let turn = take_turn(&checkout)?;
        match find_spec().await? {
            Some(spec) => Self::take(checkout, turn, spec).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same; where none runs, the one that `mayfly up` would start. The first change starts it.
    pub(super) async fn find_or_prepare() -> Result<Self> {
        let checkout = Checkout::enter()?;
        let turn = take_turn(&checkout)?;
        if let Some(spec) = find_spec().await? {
            return Self::take(checkout, turn, spec).await;
        }
        let spec = prepare(&Wishes::of_environment()?, &checkout)?;
        let note = Note::of(&checkout.paths.home());
        Ok(Self { checkout, found: Found { spec, stopped: Vec::new() }, note, _turn: turn })
    }

    /// Takes the stack that runs with this spec. What a simulation that was killed has changed is put back first.
    async fn take(checkout: Checkout, turn: File, spec: Spec) -> Result<Self> {
        let note = Note::of(&checkout.paths.home());
        if let Some(found) = note.read(&spec) {
            let stack = Self { checkout, found, note, _turn: turn };
            remark("a simulation that was killed has left this stack changed: putting it back");
            stack.put_back().await?;
            return Ok(stack);
        }
        let found = Found { spec, stopped: find_stopped().await? };
        Ok(Self { checkout, found, note, _turn: turn })
    }

    /// How many of a service there are.
    pub(super) fn count(&self, service: Service) -> usize {
        self.found.spec.count(service)
    }

    /// The settings of its services, without where Redis and Postgres are.
    pub(super) fn service_settings(&self) -> Result<Settings> {
        let env = self.found.spec.env.clone().into_iter();
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
        let mut spec = self.found.spec.clone().with_scale(Service::PersistWorker, workers);
        if self.service_settings()?.plays.interval.as_millis() != u128::from(interval) * 1_000 {
            spec = spec.with_env(INTERVAL, format!("{interval}s"));
        }
        // So that nobody else makes the same one.
        spec = spec.with_env(MARK, Uuid::now_v7());
        self.note.write(&self.found, &spec)?;
        start_supervisor(&self.checkout).await?.ask(&Request::Apply(Box::new(spec))).await
    }

    /// Brings it to what it was, also while it is being brought to something else.
    pub(super) async fn put_back(&self) -> Result<()> {
        self.try_put_back().await.context("the stack could not be put back, `make up` does it")
    }

    /// Does as much of it as can be done; gives what went wrong first.
    async fn try_put_back(&self) -> Result<()> {
        let Found { spec, stopped } = &self.found;
        let mut done = ask(&Request::Apply(Box::new(spec.clone()))).await;
        for part in stopped {
            done = done.and(ask(&Request::Stop(*part)).await);
        }
        done?;
        self.note.delete()
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

/// Takes the turn of simulations of plays, which ends with the file.
fn take_turn(checkout: &Checkout) -> Result<File> {
    let home = checkout.paths.home();
    std::fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
    let path = home.join("simulate.lock");
    let name = || path.display().to_string();
    let turn = File::options().create(true).append(true).open(&path).with_context(name)?;
    match turn.try_lock() {
        Ok(()) => Ok(turn),
        Err(TryLockError::WouldBlock) => {
            bail!("another simulation of plays has this stack: wait until it has ended")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(name),
    }
}

/// What the stack was brought to last, where one runs.
async fn find_spec() -> Result<Option<Spec>> {
    match Client::connect().await {
        Some(mut supervisor) => supervisor.ask_spec().await,
        None => Ok(None),
    }
}

/// What an operator has stopped.
async fn find_stopped() -> Result<Vec<Part>> {
    let Some(mut supervisor) = Client::connect().await else { return Ok(Vec::new()) };
    let status = supervisor.ask_status().await?;
    let mut stopped: Vec<_> = status
        .iter()
        .filter(|process| process.readiness == Readiness::Stopped)
        .map(|process| process.instance.part)
        .collect();
    stopped.dedup();
    Ok(stopped)
}

/// Asks the supervisor for one thing: it takes one request a connection.
async fn ask(request: &Request) -> Result<()> {
    Client::connect().await.context("the supervisor is gone")?.ask(request).await
}
