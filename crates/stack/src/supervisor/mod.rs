//! Brings the processes of a stack to the state that its spec describes, and keeps them there.

mod migrate;
mod plan;
mod readiness;
pub(crate) mod reset;
mod rollback;
pub(crate) mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::error::StackError;
use crate::files::paths::Paths;
use crate::files::stack_env::StackEnv;
use crate::files::stack_state::StackState;
use crate::process::{Launch, ProcessHandle, Readiness, stop_orphans};
use crate::server::postgres::create_main_database;
use crate::spec::Spec;
use crate::supervisor::migrate::migrate;
use crate::supervisor::plan::{Launches, ServerPlan, plan_addresses, plan_servers, plan_services};
use crate::supervisor::readiness::{check_readiness, get_status, is_live};
use crate::supervisor::status::InstanceStatus;
use crate::topology::addresses::Addresses;
use crate::topology::instance::{Instance, ProcessKind};
use crate::topology::ports::{Ports, is_port_free};

const POLL_INTERVAL: Duration = Duration::from_millis(30);

/// The time limit for a service to become ready after `start`.
const SERVICE_READY_TIMEOUT: Duration = Duration::from_secs(30);

/// The time limit for a server to become ready. The server may have a long log to replay.
const SERVER_READY_TIMEOUT: Duration = Duration::from_secs(120);

/// The number of log lines that an error quotes.
const QUOTED_LINES: usize = 6;

/// The supervisor of one stack.
#[derive(Debug)]
pub(crate) struct Supervisor {
    paths: Paths,
    state: Arc<StackState>,
    processes: Mutex<BTreeMap<Instance, Arc<ProcessHandle>>>,
    /// The spec that was applied last.
    applied: Mutex<Option<Spec>>,
    /// The ports of the stack. The lock is held while a spec is applied, excluding the wait for the
    /// services, so that only one spec at a time changes the processes.
    ports: tokio::sync::Mutex<Ports>,
    /// Canceled when the stack shuts down. No spec is applied and no process is started afterward.
    shutdown: CancellationToken,
}

impl Supervisor {
    pub(crate) fn new(paths: Paths) -> Self {
        let state = Arc::new(StackState::new(paths.stack_env()));
        Self {
            paths,
            state,
            processes: Mutex::default(),
            applied: Mutex::default(),
            ports: tokio::sync::Mutex::default(),
            shutdown: CancellationToken::new(),
        }
    }

    /// Applies `spec`, restarting only the processes whose configuration has changed, and returns
    /// when every service is ready. If a service does not become ready in time, returns an error
    /// but leaves all services running. If an earlier step fails, such as starting a server or
    /// migrating the schema, restores the processes that were running before.
    pub(crate) async fn apply(&self, spec: &Spec) -> Result<(), StackError> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(StackError::ShuttingDown),
            applied = self.apply_and_wait(spec) => applied,
        }
    }

    async fn apply_and_wait(&self, spec: &Spec) -> Result<(), StackError> {
        if spec.root != self.paths.root() {
            return Err(StackError::OtherRoot(self.paths.root().to_owned()));
        }
        let services = {
            let mut ports = self.ports.lock().await;
            self.reconcile(spec, &mut ports).await?
        };
        self.wait_until_ready(services.keys(), spec.ready_timeout, spec.settle_timeout).await
    }

    async fn reconcile(&self, spec: &Spec, ports: &mut Ports) -> Result<Launches, StackError> {
        self.paths.create()?;
        if self.processes.lock().is_empty() {
            stop_orphans(&self.paths.pid_files()).await;
        }
        let addresses = plan_addresses(spec, ports)?;
        let servers = plan_servers(spec, &self.paths, ports).await?;
        let services = plan_services(spec, &self.paths, &addresses);
        // Check the ports before anything is stopped.
        self.check_ports(servers.launches.iter().chain(&services))?;
        let previous = self.remember();
        if let Err(error) = self.bring_up(spec, &addresses, &servers, &services).await {
            self.roll_back(previous).await;
            return Err(error);
        }
        *self.applied.lock() = Some(spec.clone());
        Ok(services)
    }

    async fn bring_up(
        &self,
        spec: &Spec,
        addresses: &Addresses,
        servers: &ServerPlan,
        services: &Launches,
    ) -> Result<(), StackError> {
        self.state.set_addresses(addresses.clone());
        self.stop_removed(|instance| {
            servers.launches.contains_key(instance) || services.contains_key(instance)
        })
        .await;
        self.stop_moved(servers.launches.iter().chain(services)).await;
        self.start_servers(servers).await?;
        if spec.migrate && !services.is_empty() {
            migrate(spec, &self.paths, &addresses.database_url).await?;
        }
        // Another program may have taken a port in the meantime.
        self.check_ports(services.iter())?;
        self.set_launches(services);
        Ok(())
    }

    async fn start_servers(&self, servers: &ServerPlan) -> Result<(), StackError> {
        self.check_ports(servers.launches.iter())?;
        if let Some(postgres) = &servers.postgres
            && !self.is_running(Instance::first(ProcessKind::Postgres))
        {
            postgres.remove_stale_lock().await;
        }
        self.set_launches(&servers.launches);
        let instances = servers.launches.keys();
        self.wait_until_ready(instances, SERVER_READY_TIMEOUT, Duration::ZERO).await?;
        match servers.launches.get(&Instance::first(ProcessKind::Postgres)) {
            Some(launch) => create_main_database(launch.ports[0]).await,
            None => Ok(()),
        }
    }

    /// Stops the processes that are not part of the plan.
    async fn stop_removed(&self, is_planned: impl Fn(&Instance) -> bool) {
        let removed: Vec<_> = {
            let mut processes = self.processes.lock();
            let names: Vec<_> =
                processes.keys().filter(|name| !is_planned(name)).copied().collect();
            names.iter().filter_map(|name| processes.remove(name)).collect()
        };
        join_all(removed.iter().map(|process| process.stop())).await;
    }

    /// Stops the processes that move to other ports, because another process may need their
    /// previous ports.
    async fn stop_moved(&self, planned: impl Iterator<Item = (&Instance, &Arc<Launch>)>) {
        let moved: Vec<_> = planned
            .filter_map(|(instance, launch)| Some((self.process(*instance)?, launch)))
            .filter(|(process, launch)| {
                process.last_launch().is_some_and(|last| last.ports != launch.ports)
            })
            .collect();
        join_all(moved.iter().map(|(process, _)| process.stop())).await;
    }

    /// Returns an error if another program uses a planned port.
    fn check_ports<'a>(
        &self,
        mut launches: impl Iterator<Item = (&'a Instance, &'a Arc<Launch>)>,
    ) -> Result<(), StackError> {
        let own = self.used_ports();
        let taken = launches.find_map(|(instance, launch)| {
            let is_taken = |port: &&u16| !own.contains(*port) && !is_port_free(**port);
            launch.ports.iter().find(is_taken).map(|port| (*port, *instance))
        });
        match taken {
            Some((port, instance)) => {
                Err(StackError::PortTaken { port, name: instance.to_string() })
            }
            None => Ok(()),
        }
    }

    /// Returns the ports of the processes that are running.
    fn used_ports(&self) -> BTreeSet<u16> {
        let processes = self.processes.lock();
        let running = processes.values().filter(|process| process.state().pid.is_some());
        let launches = running.filter_map(|process| process.last_launch());
        launches.flat_map(|launch| launch.ports.clone()).collect()
    }

    fn set_launches(&self, launches: &Launches) {
        let mut processes = self.processes.lock();
        for (instance, launch) in launches {
            let new = || Arc::new(ProcessHandle::new(*instance, self.state.clone()));
            processes.entry(*instance).or_insert_with(new).set_launch(launch.clone());
        }
    }

    fn is_running(&self, instance: Instance) -> bool {
        self.process(instance).is_some_and(|process| process.state().pid.is_some())
    }

    async fn wait_until_ready(
        &self,
        instances: impl Iterator<Item = &Instance>,
        timeout: Duration,
        settle_timeout: Duration,
    ) -> Result<(), StackError> {
        let deadline = Instant::now() + timeout;
        let settled_at = Instant::now() + settle_timeout;
        let waits = instances.map(|instance| async move {
            let reason = self.wait_for_one(*instance, deadline, settled_at).await?;
            Some((instance.to_string(), reason))
        });
        let unready: Vec<_> = join_all(waits).await.into_iter().flatten().collect();
        if unready.is_empty() { Ok(()) } else { Err(StackError::NotReady(unready)) }
    }

    /// Waits until one process is ready, and then returns `None`. Returns the reason if the process
    /// does not become ready. A degraded process counts as ready after `settled_at` or `deadline`,
    /// whichever is earlier.
    async fn wait_for_one(
        &self,
        instance: Instance,
        deadline: Instant,
        settled_at: Instant,
    ) -> Option<String> {
        loop {
            let Some(process) = self.process(instance) else {
                return Some("it was removed from the stack".to_owned());
            };
            let reason = match check_readiness(&process).await {
                Readiness::Ready => return None,
                Readiness::Degraded(_) if Instant::now() >= settled_at.min(deadline) => {
                    return None;
                }
                Readiness::Stopped => return Some("it was stopped".to_owned()),
                Readiness::Degraded(reason) | Readiness::NotReady(reason) => reason,
            };
            let keeps_failing = process.state().paused && process.is_up_to_date();
            if keeps_failing || Instant::now() > deadline {
                return Some(reason);
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Stops every process of a kind gracefully, and returns when all have exited.
    pub(crate) async fn stop(&self, kind: ProcessKind) -> Result<(), StackError> {
        let processes = self.find_processes(kind)?;
        join_all(processes.iter().map(|(_, process)| process.stop())).await;
        Ok(())
    }

    /// Starts the stopped processes of a kind, and waits until all processes of the kind are ready.
    /// While a server is stopped, services may be unable to become ready, so this function waits
    /// only until the services are live.
    pub(crate) async fn start(&self, kind: ProcessKind) -> Result<(), StackError> {
        if self.is_shutting_down() {
            return Err(StackError::ShuttingDown);
        }
        let processes = self.find_processes(kind)?;
        for (_, process) in processes.iter().filter(|(_, process)| is_stopped(process)) {
            process.start();
        }
        let timeout = if kind.is_service() { SERVICE_READY_TIMEOUT } else { SERVER_READY_TIMEOUT };
        let settle_timeout = self.spec().map_or(Duration::ZERO, |spec| spec.settle_timeout);
        let instances: Vec<_> = processes.iter().map(|(instance, _)| *instance).collect();
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(StackError::ShuttingDown),
            up = self.wait_until_ready(instances.iter(), timeout, settle_timeout) => up,
            () = self.wait_until_live_without_servers(&processes), if kind.is_service() => Ok(()),
        }
    }

    /// Waits until all `processes` are live while at least one server is stopped.
    async fn wait_until_live_without_servers(&self, processes: &[(Instance, Arc<ProcessHandle>)]) {
        loop {
            let live = join_all(processes.iter().map(|(_, process)| is_live(process))).await;
            if self.is_any_server_stopped() && live.iter().all(|live| *live) {
                return;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn is_any_server_stopped(&self) -> bool {
        let processes = self.processes.lock();
        processes
            .iter()
            .any(|(instance, process)| !instance.kind.is_service() && is_stopped(process))
    }

    /// Returns the status of every process.
    pub(crate) async fn status(&self) -> Vec<InstanceStatus> {
        let processes = self.list_processes();
        join_all(processes.iter().map(|(instance, process)| get_status(*instance, process))).await
    }

    pub(crate) fn env(&self) -> StackEnv {
        self.state.env()
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    pub(crate) fn spec(&self) -> Option<Spec> {
        self.applied.lock().clone()
    }

    /// Stops everything gracefully: the services first, then the servers.
    pub(crate) async fn down(&self) {
        self.shutdown.cancel();
        let services = self.select_processes(ProcessKind::is_service);
        join_all(services.iter().map(|process| process.stop())).await;
        let all = self.select_processes(|_| true);
        join_all(all.iter().map(|process| process.stop())).await;
    }

    /// Stops everything immediately.
    pub(crate) async fn kill(&self) {
        self.shutdown.cancel();
        let all = self.select_processes(|_| true);
        join_all(all.iter().map(|process| process.stop_now())).await;
    }

    fn select_processes(
        &self,
        is_selected: impl Fn(ProcessKind) -> bool,
    ) -> Vec<Arc<ProcessHandle>> {
        let all = self.processes.lock();
        let selected = all.iter().filter(|(instance, _)| is_selected(instance.kind));
        selected.map(|(_, process)| process.clone()).collect()
    }

    fn list_processes(&self) -> Vec<(Instance, Arc<ProcessHandle>)> {
        let all = self.processes.lock();
        all.iter().map(|(instance, process)| (*instance, process.clone())).collect()
    }

    fn process(&self, instance: Instance) -> Option<Arc<ProcessHandle>> {
        self.processes.lock().get(&instance).cloned()
    }

    fn find_processes(
        &self,
        kind: ProcessKind,
    ) -> Result<Vec<(Instance, Arc<ProcessHandle>)>, StackError> {
        let all = self.processes.lock();
        let found = all.iter().filter(|(instance, _)| instance.kind == kind);
        let found: Vec<_> = found.map(|(instance, process)| (*instance, process.clone())).collect();
        if found.is_empty() { Err(StackError::NotManaged(kind)) } else { Ok(found) }
    }
}

fn is_stopped(process: &ProcessHandle) -> bool {
    process.desired_launch().is_none()
}
