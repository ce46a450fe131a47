//! Plans the addresses and the processes of a stack from its spec.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mayfly_runtime::settings::parse_duration;
use nix::sys::signal::Signal;

use crate::error::StackError;
use crate::files::paths::Paths;
use crate::process::{BuildId, Launch, Probe, StopPolicy};
use crate::server::postgres::Postgres;
use crate::server::redis::plan_redis;
use crate::server::s3::{local_s3, plan_s3};
use crate::spec::{LOCAL_DEFAULTS, Spec};
use crate::topology::addresses::{
    Addresses, S3Address, ServicePorts, main_database_url, redis_url,
};
use crate::topology::instance::{Instance, ProcessKind};
use crate::topology::ports::{PortKind, Ports};
use crate::topology::service::{LocalService as _, Service};

/// The default shutdown timeout of a service.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);
/// The additional time that a busy machine may need.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(5);

/// The configuration of each process.
pub(super) type Launches = BTreeMap<Instance, Arc<Launch>>;

/// Assigns the ports and returns the addresses of all processes.
pub(super) fn plan_addresses(spec: &Spec, ports: &mut Ports) -> Result<Addresses, StackError> {
    let mut port = |kind| ports.assign(spec.port_base, Instance::first(kind), PortKind::Public);
    let redis_url = match &spec.redis_url {
        Some(url) => url.clone(),
        None => redis_url(port(ProcessKind::Redis)?),
    };
    let database_url = match &spec.database_url {
        Some(url) => url.clone(),
        None => main_database_url(port(ProcessKind::Postgres)?),
    };
    let s3 = match &spec.s3_endpoint {
        _ if spec.without_s3 => None,
        Some(endpoint) => Some(external_s3(endpoint, spec)),
        None => Some(name_object(local_s3(port(ProcessKind::S3)?), spec)),
    };
    Ok(Addresses { services: plan_ports(spec, ports)?, redis_url, database_url, s3 })
}

fn external_s3(endpoint: &str, spec: &Spec) -> S3Address {
    let local = local_s3(0);
    let value = |name: &str, default: String| spec.s3_env.get(name).cloned().unwrap_or(default);
    let address = S3Address {
        endpoint: endpoint.trim_end_matches('/').to_owned(),
        access_key: value("AWS_ACCESS_KEY_ID", local.access_key),
        secret_key: value("AWS_SECRET_ACCESS_KEY", local.secret_key),
        region: value("AWS_REGION", local.region),
        bucket: local.bucket,
        key: local.key,
    };
    name_object(address, spec)
}

/// Determines the bucket and the key from the same settings as the services. `MAYFLY_STATS__*`
/// overrides `MESSY_*`.
fn name_object(default: S3Address, spec: &Spec) -> S3Address {
    let value = |setting: &str, alias: &str, default: String| {
        let alias = spec.s3_env.get(alias).filter(|value| !value.is_empty());
        spec.env.get(setting).or(alias).cloned().unwrap_or(default)
    };
    S3Address {
        bucket: value("MAYFLY_STATS__BUCKET", "MESSY_BUCKET", default.bucket),
        key: value("MAYFLY_STATS__KEY", "MESSY_KEY", default.key),
        ..default
    }
}

fn plan_ports(
    spec: &Spec,
    ports: &mut Ports,
) -> Result<BTreeMap<Service, Vec<ServicePorts>>, StackError> {
    let mut planned = BTreeMap::new();
    for service in Service::ALL {
        let mut list = Vec::new();
        for instance in Instance::all(service, spec.count(service)) {
            let mut port = |kind| ports.assign(spec.port_base, instance, kind);
            let public = service.http_offset().map(|_| port(PortKind::Public)).transpose()?;
            list.push(ServicePorts { public, admin: port(PortKind::Admin)? });
        }
        planned.insert(service, list);
    }
    Ok(planned)
}

/// Plans the servers that the stack runs itself. Writes the Redis configuration, and initializes
/// the Postgres data directory if it does not exist yet.
pub(super) async fn plan_servers(
    spec: &Spec,
    paths: &Paths,
    ports: &mut Ports,
) -> Result<ServerPlan, StackError> {
    let mut launches = Launches::new();
    let mut postgres = None;
    let mut port = |kind| ports.assign(spec.port_base, Instance::first(kind), PortKind::Public);
    if spec.redis_url.is_none() {
        let launch = plan_redis(paths, port(ProcessKind::Redis)?, spec.durable)?;
        launches.insert(Instance::first(ProcessKind::Redis), Arc::new(launch));
    }
    if spec.database_url.is_none() {
        let server =
            Postgres::set_up(paths, spec.durable, spec.postgres_template.as_deref()).await?;
        let launch = server.launch(paths, port(ProcessKind::Postgres)?);
        launches.insert(Instance::first(ProcessKind::Postgres), Arc::new(launch));
        postgres = Some(server);
    }
    if spec.s3_endpoint.is_none() && !spec.without_s3 {
        let launch = plan_s3(paths, &spec.bin_dir, port(ProcessKind::S3)?)?;
        launches.insert(Instance::first(ProcessKind::S3), Arc::new(launch));
    }
    Ok(ServerPlan { launches, postgres })
}

/// The servers that the stack runs itself.
pub(super) struct ServerPlan {
    pub(super) launches: Launches,
    pub(super) postgres: Option<Postgres>,
}

/// Plans all processes of the services.
pub(super) fn plan_services(spec: &Spec, paths: &Paths, addresses: &Addresses) -> Launches {
    let services = addresses.services.iter();
    let processes = services.flat_map(|(service, list)| {
        Instance::all(*service, list.len())
            .zip(list)
            .map(move |(instance, ports)| (*service, instance, *ports))
    });
    processes
        .map(|(service, instance, ports)| {
            let env = environment(spec, addresses, service, ports);
            (instance, Arc::new(plan_service(spec, paths, service, instance, ports, env)))
        })
        .collect()
}

fn plan_service(
    spec: &Spec,
    paths: &Paths,
    service: Service,
    instance: Instance,
    ports: ServicePorts,
    env: BTreeMap<String, String>,
) -> Launch {
    let program = spec.bin_dir.join(service.name());
    let stop_policy = stop_policy(spec.env.get("MAYFLY_LIFECYCLE__SHUTDOWN_TIMEOUT"));
    Launch {
        args: Vec::new(),
        env,
        working_dir: paths.root().to_owned(),
        account: None,
        ports: ports.public.into_iter().chain([ports.admin]).collect(),
        log: paths.log(instance),
        pid_file: paths.pid_file(instance),
        marker: program.display().to_string(),
        probe: Probe::Service(ports.admin),
        stop_policy,
        exclusive_dir: None,
        build: BuildId::read(&program),
        program,
    }
}

fn stop_policy(shutdown_timeout: Option<&String>) -> StopPolicy {
    let shutdown_timeout = shutdown_timeout.and_then(|text| parse_duration(text));
    StopPolicy {
        graceful: Signal::SIGTERM,
        timeout: shutdown_timeout.unwrap_or(SHUTDOWN_TIMEOUT) + SHUTDOWN_MARGIN,
        immediate: Signal::SIGKILL,
        parent_death: Signal::SIGKILL,
    }
}

/// Returns the listen address of a service. `localhost` makes the service listen on the loopback
/// addresses of IPv4 and IPv6.
fn loopback(port: u16) -> String {
    format!("localhost:{port}")
}

/// Returns the environment of a service: its own addresses, the addresses of other services and
/// servers, the defaults of the local stack, and the settings of the spec.
fn environment(
    spec: &Spec,
    addresses: &Addresses,
    service: Service,
    ports: ServicePorts,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    if let Some(public) = ports.public {
        set("MAYFLY_HTTP__LISTEN", loopback(public));
    }
    set("MAYFLY_ADMIN__LISTEN", loopback(ports.admin));
    for (name, value) in LOCAL_DEFAULTS {
        set(name, value.to_owned());
    }
    for (name, of) in PUBLIC_URLS {
        addresses.public_url(of).map(|url| set(name, url));
    }
    set("REDIS_URL", addresses.redis_url.clone());
    if service.uses_database() {
        set("DATABASE_URL", addresses.database_url.clone());
    }
    if service.uses_s3() {
        // Services of a local stack do not use the credentials of a cloud instance.
        set("AWS_EC2_METADATA_DISABLED", "true".to_owned());
    }
    if let Some(s3) = addresses.s3.as_ref().filter(|_| service.uses_s3()) {
        env.extend(s3_environment(s3));
    }
    env.extend(spec.settings().map(|(name, value)| (name.clone(), value.clone())));
    env
}

/// The settings that contain the URLs of the services, for web pages.
const PUBLIC_URLS: [(&str, Service); 3] = [
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
    use mayfly_runtime::Settings;

    use super::*;
    use crate::topology::addresses::http_url;

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
    fn only_services_that_use_postgres_receive_its_url() {
        let (_, launches) = plan(&Spec::new("/checkout", "/bin"));
        for service in Service::ALL {
            let has_url = launch(&launches, service).env.contains_key("DATABASE_URL");
            assert_eq!(
                has_url,
                !matches!(service, Service::IngestApi | Service::WsFanout),
                "{service}"
            );
        }
    }

    #[test]
    fn settings_override_the_local_defaults() {
        let spec = Spec::new("/checkout", "/bin").with_env("MAYFLY_HTTP__DRAIN_DELAY", "3s");
        let (_, launches) = plan(&spec);
        assert_eq!(launch(&launches, Service::ListApi).env["MAYFLY_HTTP__DRAIN_DELAY"], "3s");
    }

    #[test]
    fn services_accept_only_loopback_hosts() {
        let (_, launches) = plan(&Spec::new("/checkout", "/bin"));
        for service in Service::ALL {
            let env = launch(&launches, service).env.clone().into_iter();
            let env = env.filter(|(name, _)| name.starts_with("MAYFLY_HTTP__"));
            let settings = Settings::from_layers(None, env).expect("valid settings");
            let is_allowed = |host: &str| settings.http.allowed_hosts.allows(host);
            for host in ["localhost:8080", "a.localhost", "127.0.0.1:8080", "[::1]:8080"] {
                assert!(is_allowed(host), "{service}: {host}");
            }
            for host in ["evil.example", "evil.example:8080", "localhost.evil.example"] {
                assert!(!is_allowed(host), "{service}: {host}");
            }
        }
    }

    #[test]
    fn second_instance_does_not_change_the_first() {
        let spec = Spec::new("/checkout", "/bin");
        let (_, one) = plan(&spec);
        let (addresses, two) = plan(&spec.with_scale(Service::WsFanout, 2));
        assert_eq!(launch(&one, Service::WsFanout), launch(&two, Service::WsFanout));
        assert_eq!(addresses.services[&Service::WsFanout].len(), 2);
    }

    #[test]
    fn stop_timeout_follows_the_shutdown_timeout() {
        assert_eq!(stop_policy(None).timeout, Duration::from_secs(30));
        assert_eq!(stop_policy(Some(&"2m".to_owned())).timeout, Duration::from_secs(125));
        assert_eq!(stop_policy(Some(&"invalid".to_owned())).timeout, Duration::from_secs(30));
    }

    #[test]
    fn bucket_and_key_of_the_stack_server_are_configurable() {
        let mut spec = Spec::new("/checkout", "/bin").with_env("MAYFLY_STATS__KEY", "latest");
        spec.s3_env = [("MESSY_BUCKET", "news"), ("MESSY_KEY", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let (addresses, launches) = plan(&spec);
        let s3 = addresses.s3.expect("the stack runs an S3 server");
        assert_eq!((s3.bucket.as_str(), s3.key.as_str()), ("news", "latest"));
        assert_eq!(launch(&launches, Service::StatsPublisher).env["MESSY_BUCKET"], "news");
    }

    #[test]
    fn service_scaled_to_zero_is_not_planned() {
        let (addresses, launches) = plan(&Spec::servers_only("/checkout"));
        assert!(launches.is_empty());
        assert_eq!(addresses.public_url(Service::WsFanout), None);
    }

    #[test]
    fn pages_receive_the_public_urls() {
        let (_, launches) = plan(&Spec::new("/checkout", "/bin"));
        let env = &launch(&launches, Service::WsFanout).env;
        assert_eq!(env["MAYFLY_PUBLIC__INGEST_URL"], http_url(8081));
        assert_eq!(env["MAYFLY_PUBLIC__LIST_URL"], http_url(8082));
        assert_eq!(env["MAYFLY_PUBLIC__LIVE_URL"], http_url(8080));
    }
}
