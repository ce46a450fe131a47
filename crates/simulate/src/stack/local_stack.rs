//! Changes the local stack for a simulation, and restores the stack afterward.

use std::fs::{File, TryLockError};

use anyhow::{Context as _, Result, bail};
use mayfly_live_client::terminal::print_err;
use mayfly_runtime::Settings;
use mayfly_stack::control::{Checkout, Client, Request, start_supervisor};
use mayfly_stack::{ProcessKind, Readiness, Service, Spec, StackEnv};
use secrecy::SecretString;
use uuid::Uuid;

use super::saved_stack::{SavedStack, SavedStackFile};

/// The environment variable for the interval between publications of large counts.
const INTERVAL: &str = "MAYFLY_PLAYS__INTERVAL";
/// The variable that identifies the spec of a simulation. The supervisor does not pass the variable
/// to services, because the name does not contain `__`.
const SIMULATION_ID: &str = "MAYFLY_SIMULATION";

/// The local stack, with its state before the simulation. Only one simulation of plays at a time
/// can use the stack.
#[derive(Debug)]
pub(crate) struct LocalStack {
    checkout: Checkout,
    saved: SavedStack,
    file: SavedStackFile,
    _lock: File,
}

impl LocalStack {
    /// Finds and locks the running stack of this checkout. Returns `None` if the stack is down or
    /// shutting down.
    pub(crate) async fn find() -> Result<Option<Self>> {
        let checkout = Checkout::enter()?;
        if Client::connect().await.is_none() {
            return Ok(None);
        }
        let lock = try_lock(&checkout)?;
        match find_spec().await? {
            Some(spec) => Self::open(checkout, lock, spec).await.map(Some),
            None => Ok(None),
        }
    }

    /// Finds and locks the running stack. If the stack is down, locks and prepares the stack that
    /// `mayfly up` would start; the first [`Self::change`] then starts it.
    pub(crate) async fn find_or_prepare(
        prepare_spec: impl FnOnce(&Checkout) -> Result<Spec>,
    ) -> Result<Self> {
        let checkout = Checkout::enter()?;
        let lock = try_lock(&checkout)?;
        if let Some(spec) = find_spec().await? {
            return Self::open(checkout, lock, spec).await;
        }
        let saved = SavedStack { spec: prepare_spec(&checkout)?, stopped: Vec::new() };
        let file = SavedStackFile::new(&checkout.paths.data_dir());
        Ok(Self { checkout, saved, file, _lock: lock })
    }

    /// Reads the state of the running stack. If a killed simulation left the stack changed,
    /// restores the stack first and uses the state that the simulation saved.
    async fn open(checkout: Checkout, lock: File, spec: Spec) -> Result<Self> {
        let file = SavedStackFile::new(&checkout.paths.data_dir());
        if let Some(saved) = file.read(&spec) {
            let stack = Self { checkout, saved, file, _lock: lock };
            print_err("restoring the stack that a killed simulation left changed");
            stack.restore().await?;
            return Ok(stack);
        }
        let saved = SavedStack { spec, stopped: find_stopped().await? };
        Ok(Self { checkout, saved, file, _lock: lock })
    }

    /// Returns the number of instances of a service before the simulation.
    pub(crate) fn count(&self, service: Service) -> usize {
        self.saved.spec.count(service)
    }

    /// Returns the settings of the services, excluding the URLs of Redis and Postgres.
    pub(crate) fn service_settings(&self) -> Result<Settings> {
        let env = self.saved.spec.env.clone().into_iter();
        Settings::from_layers(None, env).context("invalid settings of the stack")
    }

    /// Returns the settings of the services, including the URLs of Redis and Postgres. The stack
    /// must be up.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let env = self.env()?;
        let mut settings = self.service_settings()?;
        settings.redis.url = SecretString::from(env.redis_url());
        settings.postgres.url = SecretString::from(env.database_url());
        Ok(settings)
    }

    /// Returns the addresses of the stack. The stack must be up.
    pub(crate) fn env(&self) -> Result<StackEnv> {
        let path = self.checkout.paths.stack_env();
        StackEnv::read(&path).with_context(|| path.display().to_string())
    }

    /// Saves the state of the stack, changes the number of workers and the publishing interval, and
    /// returns when all services are ready. Changing the interval restarts all services.
    pub(crate) async fn change(&self, workers: usize, interval_s: u64) -> Result<()> {
        let mut spec = self.saved.spec.clone().with_scale(Service::PersistWorker, workers);
        if self.service_settings()?.plays.interval.as_millis() != u128::from(interval_s) * 1_000 {
            spec = spec.with_env(INTERVAL, format!("{interval_s}s"));
        }
        // Make the spec unique, so that an equal spec of another command is not mistaken for the
        // spec of this simulation.
        spec = spec.with_env(SIMULATION_ID, Uuid::now_v7());
        self.file.write(&self.saved, &spec)?;
        let mut supervisor = start_supervisor(&self.checkout).await?;
        Ok(supervisor.request(&Request::Apply(Box::new(spec))).await?)
    }

    /// Restores the stack, even while a change is being applied.
    pub(crate) async fn restore(&self) -> Result<()> {
        self.try_restore().await.context("cannot restore the stack; run `make up`")
    }

    /// Restores as much as possible, and returns the first error. Deletes the saved state only if
    /// everything has been restored.
    async fn try_restore(&self) -> Result<()> {
        let SavedStack { spec, stopped } = &self.saved;
        let mut result = request(&Request::Apply(Box::new(spec.clone()))).await;
        for kind in stopped {
            result = result.and(request(&Request::Stop(*kind)).await);
        }
        result?;
        self.file.delete()
    }

    /// Stops all workers.
    pub(crate) async fn stop_workers(&self) -> Result<()> {
        request(&Request::Stop(Service::PersistWorker.into())).await
    }

    /// Starts all workers and returns when they are ready.
    pub(crate) async fn start_workers(&self) -> Result<()> {
        request(&Request::Start(Service::PersistWorker.into())).await
    }
}

/// Acquires the simulation lock. Returns an error if another simulation holds the lock. Closing the
/// file releases the lock.
fn try_lock(checkout: &Checkout) -> Result<File> {
    let dir = checkout.paths.data_dir();
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let path = dir.join("simulate.lock");
    let name = || path.display().to_string();
    let file = File::options().create(true).append(true).open(&path).with_context(name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another simulation of plays is using this stack; wait until it has finished")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(name),
    }
}

/// Returns the spec of the running stack; `None` if the stack is down or shutting down.
async fn find_spec() -> Result<Option<Spec>> {
    match Client::connect().await {
        Some(mut supervisor) => Ok(supervisor.spec().await?),
        None => Ok(None),
    }
}

/// Returns the services and servers that an operator stopped.
async fn find_stopped() -> Result<Vec<ProcessKind>> {
    let Some(mut supervisor) = Client::connect().await else { return Ok(Vec::new()) };
    let status = supervisor.status().await?;
    let mut stopped: Vec<_> = status
        .iter()
        .filter(|process| process.readiness == Readiness::Stopped)
        .map(|process| process.instance.kind)
        .collect();
    stopped.dedup();
    Ok(stopped)
}

/// Sends a request on a new connection, because the supervisor handles one request per connection.
async fn request(request: &Request) -> Result<()> {
    let supervisor = Client::connect().await.context("the supervisor is not running");
    Ok(supervisor?.request(request).await?)
}
