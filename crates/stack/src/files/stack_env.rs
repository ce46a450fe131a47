//! `.mayfly/stack.env`: addresses and PIDs for scripts and tests.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::topology::addresses::{Addresses, S3Address, ServicePorts, http_url};
use crate::topology::instance::{Instance, ProcessKind};
use crate::topology::service::{LocalService as _, Service};

/// The content of `stack.env`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackEnv {
    lines: Vec<(String, String)>,
}

impl StackEnv {
    /// Reads a `stack.env` file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Ok(Self { lines: lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect() })
    }

    /// Replaces the file atomically. Only the owner can read the file, because it contains
    /// credentials.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("env.new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        io::Write::write_all(&mut file, self.to_string().as_bytes())?;
        fs::rename(new, path)
    }

    pub(crate) fn new(addresses: &Addresses, pids: &BTreeMap<Instance, u32>) -> Self {
        let mut env = Self::default();
        env.push_services(addresses, pids);
        for (name, kind) in [
            ("REDIS_PID", ProcessKind::Redis),
            ("POSTGRES_PID", ProcessKind::Postgres),
            ("S3_PID", ProcessKind::S3),
        ] {
            env.push(name, list_pids(pids, kind, 1));
        }
        env.push("REDIS_URL", addresses.redis_url.clone());
        env.push("DATABASE_URL", addresses.database_url.clone());
        env.push_s3(addresses);
        env
    }

    fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.lines.push((name.into(), value.into()));
    }

    fn push_services(&mut self, addresses: &Addresses, pids: &BTreeMap<Instance, u32>) {
        for service in Service::ALL {
            let name = service.env_name();
            let ports = addresses.services.get(&service).map(Vec::as_slice).unwrap_or_default();
            if service.http_offset().is_some() {
                self.push(format!("{name}_URL"), list_urls(ports, |ports| ports.public));
            }
            self.push(format!("{name}_ADMIN_URL"), list_urls(ports, |ports| Some(ports.admin)));
            self.push(format!("{name}_PID"), list_pids(pids, service.into(), ports.len()));
        }
    }

    fn push_s3(&mut self, addresses: &Addresses) {
        let s3 = addresses.s3.as_ref();
        let value = |get: fn(&S3Address) -> &String| s3.map(get).cloned().unwrap_or_default();
        self.push("S3_ENDPOINT", value(|s3| &s3.endpoint));
        self.push("S3_BUCKET", value(|s3| &s3.bucket));
        self.push("S3_KEY", value(|s3| &s3.key));
        self.push("AWS_ACCESS_KEY_ID", value(|s3| &s3.access_key));
        self.push("AWS_SECRET_ACCESS_KEY", value(|s3| &s3.secret_key));
        self.push("AWS_REGION", value(|s3| &s3.region));
    }

    /// Returns the value for a name, or an empty string if the name is missing.
    pub fn get(&self, name: &str) -> &str {
        self.lines.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Returns all names and values, in the order of the file.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the public URLs of a service, one per instance.
    pub fn urls(&self, service: Service) -> Vec<String> {
        self.list(&format!("{}_URL", service.env_name()))
    }

    /// Returns the admin URLs of a service, one per instance.
    pub fn admin_urls(&self, service: Service) -> Vec<String> {
        self.list(&format!("{}_ADMIN_URL", service.env_name()))
    }

    /// Returns the PIDs of a service or server, excluding stopped instances.
    pub fn pids(&self, kind: impl Into<ProcessKind>) -> Vec<u32> {
        let name = kind.into().name().replace('-', "_").to_uppercase();
        self.list(&format!("{name}_PID")).iter().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Returns the Redis URL.
    pub fn redis_url(&self) -> &str {
        self.get("REDIS_URL")
    }

    /// Returns the Postgres URL. Its user has all privileges on the stack's own Postgres.
    pub fn database_url(&self) -> &str {
        self.get("DATABASE_URL")
    }

    /// Returns the URL of the S3 server, or an empty string if the stack has none.
    pub fn s3_endpoint(&self) -> &str {
        self.get("S3_ENDPOINT")
    }

    /// Returns the bucket that contains the latest snapshot.
    pub fn s3_bucket(&self) -> &str {
        self.get("S3_BUCKET")
    }

    /// Returns the object key of the latest snapshot.
    pub fn s3_key(&self) -> &str {
        self.get("S3_KEY")
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.get(name).split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }
}

impl fmt::Display for StackEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for (name, value) in &self.lines {
            writeln!(text, "{name}={value}")?;
        }
        f.write_str(&text)
    }
}

fn list_urls(ports: &[ServicePorts], pick: fn(&ServicePorts) -> Option<u16>) -> String {
    ports.iter().filter_map(pick).map(http_url).collect::<Vec<_>>().join(",")
}

/// Formats PIDs in the order of the instances. The entry of a stopped instance is empty. If all
/// instances are stopped, the value is empty.
fn list_pids(pids: &BTreeMap<Instance, u32>, kind: ProcessKind, count: usize) -> String {
    let pid = |number| pids.get(&Instance { kind, number }).map(u32::to_string).unwrap_or_default();
    let list: Vec<_> = (1..=count).map(pid).collect();
    if list.iter().all(String::is_empty) { String::new() } else { list.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_fanout_instances() -> Addresses {
        let ports = [(8080, 8093), (20_001, 20_002)]
            .map(|(public, admin)| ServicePorts { public: Some(public), admin });
        Addresses { services: [(Service::WsFanout, ports.to_vec())].into(), ..Addresses::default() }
    }

    #[test]
    fn instances_are_comma_separated() {
        let pids = Instance::all(Service::WsFanout, 2).zip([7, 8]).collect();
        let env = StackEnv::new(&two_fanout_instances(), &pids);
        assert_eq!(env.get("WS_FANOUT_URL"), "http://127.0.0.1:8080,http://127.0.0.1:20001");
        assert_eq!(env.get("WS_FANOUT_PID"), "7,8");
        assert_eq!(env.pids(Service::WsFanout), [7, 8]);
    }

    #[test]
    fn stopped_process_has_an_empty_value() {
        let env = StackEnv::new(&two_fanout_instances(), &BTreeMap::new());
        assert!(env.to_string().contains("WS_FANOUT_PID=\n"));
        assert!(env.to_string().contains("REDIS_PID=\n"));
        assert!(env.pids(Service::WsFanout).is_empty());
    }

    #[test]
    fn written_file_reads_back_equal() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("stack.env");
        let env = StackEnv::new(&two_fanout_instances(), &BTreeMap::new());
        env.write(&path).expect("written");
        assert_eq!(StackEnv::read(&path).expect("read"), env);
    }
}
