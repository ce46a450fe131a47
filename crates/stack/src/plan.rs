//! From what a stack should be to the processes it consists of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::addresses::{Addresses, S3Address, ServicePorts};
use crate::error::StackError;
use crate::instance::{Instance, Part};
use crate::paths::Paths;
use crate::ports::{Ports, Role, local};
use crate::probe::Probe;
use crate::process::{Build, Ending, Launch};
use crate::server::postgres::{Postgres, main_database_url};
use crate::server::redis::launch_redis;
use crate::server::s3::{launch_s3, own_s3};
use crate::service::{OnOneMachine as _, Service};
use crate::spec::Spec;

/// How long a service may take to leave unless it is told otherwise, and how much longer a busy machine may.
const LEAVE_WITHIN: Duration = Duration::from_secs(25);
const LEAVE_MARGIN: Duration = Duration::from_secs(5);

/// Every loopback origin may use the local stack from a page.
const LOOPBACK_ORIGINS: &str = "http://localhost:*,http://127.0.0.1:*,http://[::1]:*";

/// Processes by name.
pub(crate) type Launches = BTreeMap<Instance, Arc<Launch>>;

/// Where everything of a stack will be.
pub(crate) fn plan_addresses(spec: &Spec, ports: &mut Ports) -> Result<Addresses, StackError> {
    let mut server = |part| ports.assign(spec.port_base, Instance::first(part), Role::Public);
    let redis_url = match &spec.redis_url {
        Some(url) => url.clone(),
        None => format!("redis://{}", local(server(Part::Redis)?)),
    };
    let database_url = match &spec.database_url {
        Some(url) => url.clone(),
        None => main_database_url(server(Part::Postgres)?),
    };
    let s3 = match &spec.s3_endpoint {
        _ if spec.without_s3 => None,
        Some(endpoint) => Some(given_s3(endpoint, &spec.s3_env)),
        None => Some(own_s3(server(Part::S3)?)),
    };
    Ok(Addresses { services: plan_ports(spec, ports)?, redis_url, database_url, s3 })
}

fn given_s3(endpoint: &str, env: &BTreeMap<String, String>) -> S3Address {
    let own = own_s3(0);
    let value = |name: &str, default: String| env.get(name).cloned().unwrap_or(default);
    S3Address {
        endpoint: endpoint.trim_end_matches('/').to_owned(),
        bucket: value("MESSY_BUCKET", own.bucket),
        key: value("MESSY_KEY", own.key),
        access_key: value("AWS_ACCESS_KEY_ID", own.access_key),
        secret_key: value("AWS_SECRET_ACCESS_KEY", own.secret_key),
        region: value("AWS_REGION", own.region),
    }
}

fn plan_ports(
    spec: &Spec,
    ports: &mut Ports,
) -> Result<BTreeMap<Service, Vec<ServicePorts>>, StackError> {
    let mut planned = BTreeMap::new();
    for service in Service::ALL {
        let mut list = Vec::new();
        for instance in Instance::all_of(service, spec.count(service)) {
            let mut port = |role| ports.assign(spec.port_base, instance, role);
            let public = service.http_offset().map(|_| port(Role::Public)).transpose()?;
            list.push(ServicePorts { public, admin: port(Role::Admin)? });
        }
        planned.insert(service, list);
    }
    Ok(planned)
}

/// The servers that the stack runs itself. Postgres is set up on the way, which takes a moment the first time.
pub(crate) async fn plan_servers(
    spec: &Spec,
    paths: &Paths,
    ports: &mut Ports,
) -> Result<Servers, StackError> {
    let mut launches = Launches::new();
    let mut postgres = None;
    let mut port = |part| ports.assign(spec.port_base, Instance::first(part), Role::Public);
    if spec.redis_url.is_none() {
        let launch = launch_redis(paths, port(Part::Redis)?, spec.durable)?;
        launches.insert(Instance::first(Part::Redis), Arc::new(launch));
    }
    if spec.database_url.is_none() {
        let own = Postgres::set_up(paths, spec.durable).await?;
        launches.insert(
            Instance::first(Part::Postgres),
            Arc::new(own.launch(paths, port(Part::Postgres)?)),
        );
        postgres = Some(own);
    }
    if spec.s3_endpoint.is_none() && !spec.without_s3 {
        let launch = launch_s3(paths, &spec.bin_dir, port(Part::S3)?)?;
        launches.insert(Instance::first(Part::S3), Arc::new(launch));
    }
    Ok(Servers { launches, postgres })
}

/// The servers that the stack runs itself.
pub(crate) struct Servers {
    pub(crate) launches: Launches,
    pub(crate) postgres: Option<Postgres>,
}

/// Every process of every service.
pub(crate) fn plan_services(spec: &Spec, paths: &Paths, addresses: &Addresses) -> Launches {
    let services = addresses.services.iter();
    let processes = services.flat_map(|(service, list)| {
        Instance::all_of(*service, list.len())
            .zip(list)
            .map(move |(instance, ports)| (*service, instance, *ports))
    });
    processes
        .map(|(service, instance, ports)| {
            let env = environment(spec, addresses, service, ports);
            (instance, Arc::new(launch_service(spec, paths, service, instance, ports, env)))
        })
        .collect()
}

fn launch_service(
    spec: &Spec,
    paths: &Paths,
    service: Service,
    instance: Instance,
    ports: ServicePorts,
    env: BTreeMap<String, String>,
) -> Launch {
    let program = spec.bin_dir.join(service.name());
    let ending = end_within(spec.env.get("MAYFLY_LIFECYCLE__SHUTDOWN_TIMEOUT"));
    Launch {
        args: Vec::new(),
        env,
        dir: paths.root().to_owned(),
        account: None,
        ports: ports.public.into_iter().chain([ports.admin]).collect(),
        log: paths.log(instance),
        pid_file: paths.pid(instance),
        mark: program.display().to_string(),
        probe: Probe::Service(ports.admin),
        ending,
        alone_in: None,
        build: Build::of(&program),
        program,
    }
}

fn end_within(setting: Option<&String>) -> Ending {
    let within =
        setting.and_then(|text| parse_duration(text)).unwrap_or(LEAVE_WITHIN) + LEAVE_MARGIN;
    Ending { ask: Signal::SIGTERM, within, hurry: Signal::SIGKILL, orphaned: Signal::SIGKILL }
}

/// Reads `250ms 30s 10m 24h`; the service itself refuses what is anything else.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// What a service is told: where it is, where others are, what is different on one machine, and what the caller wants.
fn environment(
    spec: &Spec,
    to: &Addresses,
    service: Service,
    ports: ServicePorts,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    if let Some(public) = ports.public {
        set("MAYFLY_HTTP__LISTEN", local(public).to_string());
    }
    set("MAYFLY_ADMIN__LISTEN", local(ports.admin).to_string());
    set("MAYFLY_HTTP__DRAIN_DELAY", "0s".to_owned());
    set("MAYFLY_LIMITS__MESSAGES", "off".to_owned());
    set("MAYFLY_LIMITS__PLAYS", "off".to_owned());
    set("MAYFLY_LIMITS__VISITS", "off".to_owned());
    set("MAYFLY_HTTP__ALLOWED_ORIGINS", LOOPBACK_ORIGINS.to_owned());
    for (name, of) in PUBLIC {
        to.public_url(of).map(|url| set(name, url));
    }
    set("REDIS_URL", to.redis_url.clone());
    if service.knows_database() {
        set("DATABASE_URL", to.database_url.clone());
    }
    if service.knows_s3() {
        // The keys of the stack are said: the network is not to be asked for a machine's own.
        set("AWS_EC2_METADATA_DISABLED", "true".to_owned());
    }
    if let Some(s3) = to.s3.as_ref().filter(|_| service.knows_s3()) {
        env.extend(s3_environment(s3));
    }
    env.extend(spec.settings().map(|(name, value)| (name.clone(), value.clone())));
    env
}

/// Where pages find the others.
const PUBLIC: [(&str, Service); 3] = [
    ("MAYFLY_PUBLIC__INGEST_URL", Service::IngestApi),
    ("MAYFLY_PUBLIC__LIST_URL", Service::ListApi),
    ("MAYFLY_PUBLIC__LIVE_URL", Service::WsFanout),
];

fn s3_environment(s3: &S3Address) -> [(String, String); 6] {
    [
        ("AWS_ENDPOINT_URL", &s3.endpoint),
        ("AWS_ACCESS_KEY_ID", &s3.access_key),
        ("AWS_SECRET_ACCESS_KEY", &s3.secret_key),
        ("AWS_REGION", &s3.region),
        ("MESSY_BUCKET", &s3.bucket),
        ("MESSY_KEY", &s3.key),
    ]
    .map(|(name, value)| (name.to_owned(), value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::url;

    fn plan(spec: &Spec) -> (Addresses, Launches) {
        let addresses =
            plan_addresses(spec, &mut Ports::default()).expect("the ports are in range");
        let launches = plan_services(spec, &Paths::new("/checkout"), &addresses);
        (addresses, launches)
    }

    fn launch(launches: &Launches, service: Service) -> &Launch {
        &launches[&Instance::first(service.into())]
    }

    #[test]
    fn only_those_that_may_reach_postgres_know_where_it_is() {
        let (_, launches) = plan(&Spec::new("/checkout", "/bin"));
        for service in Service::ALL {
            let knows = launch(&launches, service).env.contains_key("DATABASE_URL");
            assert_eq!(
                knows,
                !matches!(service, Service::IngestApi | Service::WsFanout),
                "{service}"
            );
        }
    }

    #[test]
    fn what_the_caller_wants_goes_over_the_local_defaults() {
        let spec = Spec::new("/checkout", "/bin").with_env("MAYFLY_HTTP__DRAIN_DELAY", "3s");
        let (_, launches) = plan(&spec);
        assert_eq!(launch(&launches, Service::ListApi).env["MAYFLY_HTTP__DRAIN_DELAY"], "3s");
    }

    #[test]
    fn a_second_instance_leaves_the_first_as_it_is() {
        let spec = Spec::new("/checkout", "/bin");
        let (_, one) = plan(&spec);
        let (addresses, two) = plan(&spec.with_scale(Service::WsFanout, 2));
        assert_eq!(launch(&one, Service::WsFanout), launch(&two, Service::WsFanout));
        assert_eq!(addresses.services[&Service::WsFanout].len(), 2);
    }

    #[test]
    fn a_service_gets_the_time_to_leave_that_it_was_told() {
        assert_eq!(end_within(None).within, Duration::from_secs(30));
        assert_eq!(end_within(Some(&"2m".to_owned())).within, Duration::from_secs(125));
        assert_eq!(end_within(Some(&"soon".to_owned())).within, Duration::from_secs(30));
    }

    #[test]
    fn nothing_is_planned_for_what_is_scaled_to_none() {
        let (addresses, launches) = plan(&Spec::servers_only("/checkout"));
        assert!(launches.is_empty());
        assert_eq!(addresses.public_url(Service::WsFanout), None);
    }

    #[test]
    fn pages_are_told_where_the_others_are() {
        let (_, launches) = plan(&Spec::new("/checkout", "/bin"));
        let env = &launch(&launches, Service::WsFanout).env;
        assert_eq!(env["MAYFLY_PUBLIC__INGEST_URL"], url(8081));
        assert_eq!(env["MAYFLY_PUBLIC__LIST_URL"], url(8082));
        assert_eq!(env["MAYFLY_PUBLIC__LIVE_URL"], url(8080));
    }
}
