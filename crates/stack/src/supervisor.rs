//! Brings the processes of a stack to what its spec says, and keeps them there.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::error::StackError;
use crate::instance::{Instance, Part};
use crate::paths::Paths;
use crate::plan::{Launches, Servers, plan_addresses, plan_servers, plan_services};
use crate::ports::{Ports, is_free};
use crate::process::{
    Keeper, Launch, LogMark, State, end_leftovers, kept_environment, leash, open_log,
};
use crate::server::postgres::create_main_database;
use crate::spec::Spec;
use crate::stack_env::StackEnv;
use crate::status::{InstanceStatus, Readiness};

const LOOK_EVERY: Duration = Duration::from_millis(30);

/// A server may have a long log to read first.
const SERVER_WITHIN: Duration = Duration::from_secs(120);

/// How much of a log an error quotes.
const LINES_QUOTED: usize = 6;

/// The processes of one stack.
#[derive(Debug)]
pub(crate) struct Supervisor {
    paths: Paths,
    board: Arc<Board>,
    keepers: Mutex<BTreeMap<Instance, Arc<Keeper>>>,
    /// What the stack was brought to last.
    applied: Mutex<Option<Spec>>,
    /// Held while the stack is brought to another spec: one at a time. Its ports are known here.
    changing: tokio::sync::Mutex<Ports>,
    /// Cancelled when the stack goes down: from then on nothing is started.
    closing: CancellationToken,
}

impl Supervisor {
    pub(crate) fn new(paths: Paths) -> Self {
        let board = Arc::new(Board::new(paths.stack_env()));
        Self {
            paths,
            board,
            keepers: Mutex::default(),
            applied: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            closing: CancellationToken::new(),
        }
    }

    /// Brings the stack to `spec`, restarting only what differs, and returns when every service is ready.
    pub(crate) async fn apply(&self, spec: &Spec) -> Result<(), StackError> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(StackError::Closing),
            applied = self.bring_to(spec) => applied,
        }
    }

    async fn bring_to(&self, spec: &Spec) -> Result<(), StackError> {
        if spec.root != self.paths.root() {
            return Err(StackError::OtherRoot(self.paths.root().to_owned()));
        }
        let services = {
            let mut ports = self.changing.lock().await;
            self.change(spec, &mut ports).await?
        };
        self.wait_until_ready(services.keys(), spec.ready_within).await
    }

    async fn change(&self, spec: &Spec, ports: &mut Ports) -> Result<Launches, StackError> {
        self.paths.create()?;
        if self.keepers().is_empty() {
            end_leftovers(&self.paths.pids()).await;
        }
        let addresses = plan_addresses(spec, ports)?;
        let servers = plan_servers(spec, &self.paths, ports).await?;
        let services = plan_services(spec, &self.paths, &addresses);
        self.board.set_addresses(addresses.clone());
        self.retire(|instance| {
            servers.launches.contains_key(instance) || services.contains_key(instance)
        })
        .await;
        self.vacate(servers.launches.iter().chain(&services)).await;
        self.start_servers(&servers).await?;
        if spec.migrate && !services.is_empty() {
            self.migrate(spec, &addresses.database_url).await?;
        }
        self.look_at_ports(&services)?;
        self.want(&services);
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(spec.clone());
        Ok(services)
    }

    async fn start_servers(&self, servers: &Servers) -> Result<(), StackError> {
        self.look_at_ports(&servers.launches)?;
        if let Some(postgres) = &servers.postgres
            && !self.is_running(Instance::first(Part::Postgres))
        {
            postgres.clear_lock().await;
        }
        self.want(&servers.launches);
        self.wait_until_ready(servers.launches.keys(), SERVER_WITHIN).await?;
        match servers.launches.get(&Instance::first(Part::Postgres)) {
            Some(launch) => create_main_database(launch.ports[0]).await,
            None => Ok(()),
        }
    }

    /// Ends what is not in the plan any more.
    async fn retire(&self, planned: impl Fn(&Instance) -> bool) {
        let retired: Vec<_> = {
            let mut keepers = self.keepers();
            let names: Vec<_> = keepers.keys().filter(|name| !planned(name)).copied().collect();
            names.iter().filter_map(|name| keepers.remove(name)).collect()
        };
        join_all(retired.iter().map(|keeper| keeper.stop(false))).await;
    }

    /// Ends what listens where it will not listen any more: another one may be about to.
    async fn vacate(&self, planned: impl Iterator<Item = (&Instance, &Arc<Launch>)>) {
        let moved: Vec<_> = planned
            .filter_map(|(instance, launch)| Some((self.keeper(*instance)?, launch)))
            .filter(|(keeper, launch)| {
                keeper.known().is_some_and(|known| known.ports != launch.ports)
            })
            .collect();
        join_all(moved.iter().map(|(keeper, _)| keeper.stop(false))).await;
    }

    /// Refuses to start what could not listen.
    fn look_at_ports(&self, launches: &Launches) -> Result<(), StackError> {
        for (instance, launch) in launches {
            if self.is_running(*instance) {
                continue;
            }
            if let Some(port) = launch.ports.iter().find(|port| !is_free(**port)) {
                return Err(StackError::PortTaken { port: *port, name: instance.to_string() });
            }
        }
        Ok(())
    }

    fn want(&self, launches: &Launches) {
        let mut keepers = self.keepers();
        for (instance, launch) in launches {
            let new = || Arc::new(Keeper::new(*instance, self.board.clone()));
            keepers.entry(*instance).or_insert_with(new).want(launch.clone());
        }
    }

    fn is_running(&self, instance: Instance) -> bool {
        self.keepers().get(&instance).is_some_and(|keeper| keeper.state().pid.is_some())
    }

    /// Runs `mayfly migrate`, whose words go into a log of their own.
    async fn migrate(&self, spec: &Spec, database_url: &str) -> Result<(), StackError> {
        let program = spec.bin_dir.join("mayfly");
        let path = self.paths.logs().join("migrate.log");
        let log = open_log(&path).map_err(StackError::io(&path))?;
        let mark = LogMark::at_end(&path);
        let mut command = Command::new(&program);
        command
            .arg("migrate")
            .env_clear()
            .envs(kept_environment())
            .env("DATABASE_URL", database_url);
        command.current_dir(self.paths.root()).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(log.try_clone().map_err(StackError::io(&path))?).stderr(log);
        leash(&mut command, Signal::SIGKILL);
        let status = command.status().await.map_err(StackError::io(program))?;
        if status.success() {
            Ok(())
        } else {
            Err(StackError::Migrate(format!(
                "{status}; its last words:\n{}",
                mark.last_lines(LINES_QUOTED)
            )))
        }
    }

    async fn wait_until_ready(
        &self,
        instances: impl Iterator<Item = &Instance>,
        within: Duration,
    ) -> Result<(), StackError> {
        let deadline = Instant::now() + within;
        let waits = instances.map(|instance| async move {
            let why = self.wait_for_one(*instance, deadline).await?;
            Some((instance.to_string(), why))
        });
        let unready: Vec<_> = join_all(waits).await.into_iter().flatten().collect();
        if unready.is_empty() { Ok(()) } else { Err(StackError::NotReady(unready)) }
    }

    /// Waits for one process, and returns why it is not ready if it does not get so.
    async fn wait_for_one(&self, instance: Instance, deadline: Instant) -> Option<String> {
        loop {
            let Some(keeper) = self.keeper(instance) else {
                return Some("it was taken out of the stack".to_owned());
            };
            let why = match examine(&keeper).await {
                Readiness::Ready | Readiness::Degraded(_) => return None,
                Readiness::Stopped => return Some("it was stopped".to_owned()),
                Readiness::NotReady(why) => why,
            };
            let gave_up = keeper.state().paused && keeper.is_settled();
            if gave_up || Instant::now() > deadline {
                return Some(why);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Ends every process of a part as an operator would, and returns when they are down.
    pub(crate) async fn stop(&self, part: Part) -> Result<(), StackError> {
        let keepers = self.keepers_of(part)?;
        join_all(keepers.iter().map(|(_, keeper)| keeper.stop(false))).await;
        Ok(())
    }

    /// Starts what was stopped, and returns when it is up. A service is up when it is ready; while a server that the
    /// operator stopped is away it cannot get so, and is up when it is live.
    pub(crate) async fn start(&self, part: Part) -> Result<(), StackError> {
        let keepers = self.keepers_of(part)?;
        for (_, keeper) in keepers.iter().filter(|(_, keeper)| keeper.wanted().is_none()) {
            keeper.start();
        }
        let within = if part.is_service() { Duration::from_secs(30) } else { SERVER_WITHIN };
        let instances: Vec<_> = keepers.iter().map(|(instance, _)| *instance).collect();
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(StackError::Closing),
            up = self.wait_until_ready(instances.iter(), within) => up,
            () = self.wait_until_live(&keepers), if part.is_service() => Ok(()),
        }
    }

    /// Returns when the processes are live while a server is stopped; else never.
    async fn wait_until_live(&self, keepers: &[(Instance, Arc<Keeper>)]) {
        loop {
            let live = join_all(keepers.iter().map(|(_, keeper)| is_live(keeper))).await;
            if self.is_a_server_stopped() && live.iter().all(|live| *live) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn is_a_server_stopped(&self) -> bool {
        self.keepers()
            .iter()
            .any(|(instance, keeper)| !instance.part.is_service() && keeper.wanted().is_none())
    }

    /// How every process is.
    pub(crate) async fn status(&self) -> Vec<InstanceStatus> {
        let keepers: Vec<_> =
            self.keepers().iter().map(|(instance, keeper)| (*instance, keeper.clone())).collect();
        join_all(keepers.iter().map(|(instance, keeper)| describe(*instance, keeper))).await
    }

    pub(crate) fn env(&self) -> StackEnv {
        self.board.env()
    }

    pub(crate) fn spec(&self) -> Option<Spec> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends everything as an operator would: the services, then what they need.
    pub(crate) async fn down(&self) {
        self.closing.cancel();
        self.end_all(Part::is_service, false).await;
        self.end_all(|_| true, false).await;
    }

    /// Ends everything at once.
    pub(crate) async fn kill(&self) {
        self.closing.cancel();
        self.end_all(|_| true, true).await;
    }

    async fn end_all(&self, which: impl Fn(Part) -> bool, at_once: bool) {
        let keepers: Vec<_> = {
            let all = self.keepers();
            all.iter()
                .filter(|(instance, _)| which(instance.part))
                .map(|(_, keeper)| keeper.clone())
                .collect()
        };
        join_all(keepers.iter().map(|keeper| keeper.stop(at_once))).await;
    }

    fn keepers(&self) -> MutexGuard<'_, BTreeMap<Instance, Arc<Keeper>>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keeper(&self, instance: Instance) -> Option<Arc<Keeper>> {
        self.keepers().get(&instance).cloned()
    }

    fn keepers_of(&self, part: Part) -> Result<Vec<(Instance, Arc<Keeper>)>, StackError> {
        let all = self.keepers();
        let of_part = all.iter().filter(|(instance, _)| instance.part == part);
        let list: Vec<_> = of_part.map(|(instance, keeper)| (*instance, keeper.clone())).collect();
        if list.is_empty() { Err(StackError::NotRun(part)) } else { Ok(list) }
    }
}

/// How a process is: what it answers, or why it cannot.
async fn examine(keeper: &Keeper) -> Readiness {
    let Some(launch) = keeper.wanted() else { return Readiness::Stopped };
    let state = keeper.state();
    // Before the process that is wanted has taken over, an answer would be that of the one it replaces.
    if state.pid.is_some() && !keeper.is_settled() {
        return Readiness::NotReady("it is being replaced".to_owned());
    }
    launch
        .probe
        .ask()
        .await
        .unwrap_or_else(|silence| Readiness::NotReady(explain(&silence, &state)))
}

/// Why a process does not answer: how it ended, if it did, and its last words.
fn explain(silence: &str, state: &State) -> String {
    let words = state.log.as_ref().map(|log| log.last_lines(LINES_QUOTED)).unwrap_or_default();
    let reason = match &state.died {
        Some(how) => format!("it ended ({how})"),
        None => silence.to_owned(),
    };
    if words.is_empty() { reason } else { format!("{reason}; its last words:\n{words}") }
}

async fn is_live(keeper: &Keeper) -> bool {
    match keeper.wanted() {
        Some(launch) => launch.probe.is_live().await,
        None => false,
    }
}

async fn describe(instance: Instance, keeper: &Keeper) -> InstanceStatus {
    let url = keeper.known().map(|launch| address(&launch)).unwrap_or_default();
    InstanceStatus { instance, pid: keeper.state().pid, readiness: examine(keeper).await, url }
}

fn address(launch: &Launch) -> String {
    launch.ports.first().map(|port| launch.probe.url(*port)).unwrap_or_default()
}
