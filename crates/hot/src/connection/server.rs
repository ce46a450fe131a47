//! The Redis server that a process is connected to: its version, role and configuration.

use std::collections::HashMap;

use deadpool_redis::redis;

use crate::connection::{HotError, HotStore};

/// The oldest supported version. Earlier versions lack commands and arguments that the scripts use.
const VERSION_MIN: (u64, u64) = (7, 0);
/// The only policy under which Redis evicts no keys. Eviction could delete accepted messages.
const NO_EVICTION: &str = "noeviction";

/// The reply to `INFO`. A field is missing if the server does not report it.
#[derive(Debug, Default)]
pub(super) struct ServerInfo {
    fields: HashMap<String, String>,
}

impl HotStore {
    /// Reads the state of the server. O(1).
    pub(super) async fn read_server_info(&self) -> Result<ServerInfo, HotError> {
        // INFO has no arguments, because Redis 6 accepts at most one section, and the command must
        // succeed there so that the unsupported version is reported.
        let text: String =
            self.call(async |connection| redis::cmd("INFO").query_async(connection).await).await?;
        Ok(ServerInfo::parse(&text))
    }
}

impl ServerInfo {
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let fields = lines.filter_map(|line| line.trim_end().split_once(':'));
        Self { fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }

    /// Returns a description of the first requirement that the server does not meet, if any.
    pub(super) fn find_unmet_requirement(&self, allow_eviction: bool) -> Option<String> {
        if self.text("redis_mode") == Some("sentinel") {
            return Some(
                "redis.url names a Sentinel, which stores no data; it must name the primary".into(),
            );
        }
        let version = self.text("redis_version").unwrap_or_default();
        if parse_version(version).is_some_and(|version| version < VERSION_MIN) {
            let (major, minor) = VERSION_MIN;
            return Some(format!(
                "the version of Redis is {version}; Mayfly requires {major}.{minor} or later"
            ));
        }
        if self.text("role") == Some("slave") {
            let host = self.text("master_host").unwrap_or("unknown");
            let port = self.text("master_port").unwrap_or("unknown");
            return Some(format!(
                "redis.url names a replica, which rejects or loses writes; its primary is \
                 {host}:{port}"
            ));
        }
        match self.text("maxmemory_policy") {
            Some(policy) if policy != NO_EVICTION && !allow_eviction => Some(format!(
                "maxmemory-policy is {policy}, so a full Redis deletes accepted messages; set it \
                 to {NO_EVICTION}, or set redis.allow_eviction to on to accept the loss"
            )),
            _ => None,
        }
    }

    /// Returns whether the append-only file is on; `None` if Redis does not report this.
    pub(super) fn has_append_only_file(&self) -> Option<bool> {
        self.text("aof_enabled").map(|enabled| enabled == "1")
    }

    /// Returns whether the last operation of this kind on the append-only file failed.
    pub(super) fn has_failed(&self, operation: AofOperation) -> bool {
        let field = match operation {
            AofOperation::Write => "aof_last_write_status",
            AofOperation::Rewrite => "aof_last_bgrewrite_status",
        };
        self.text(field).is_some_and(|status| status != "ok")
    }

    /// Returns the number of keys that have been evicted since the server started.
    pub(super) fn evicted_keys(&self) -> Option<u64> {
        self.number("evicted_keys")
    }

    /// Returns the used memory in bytes.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        self.number("used_memory")
    }

    /// Returns `maxmemory` in bytes; 0 means no limit.
    pub(super) fn memory_max_bytes(&self) -> Option<u64> {
        self.number("maxmemory")
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.text(field)?.parse().ok()
    }
}

/// An operation on the append-only file.
#[derive(Debug, Clone, Copy)]
pub(super) enum AofOperation {
    Write,
    Rewrite,
}

impl AofOperation {
    pub(super) const ALL: [Self; 2] = [Self::Write, Self::Rewrite];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Rewrite => "rewrite",
        }
    }
}

fn parse_version(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_unmet(lines: &str) -> Option<String> {
        ServerInfo::parse(lines).find_unmet_requirement(false)
    }

    #[test]
    fn unsuitable_server_is_described() {
        for (lines, part) in [
            ("redis_version:7.2.4\r\nredis_mode:sentinel\r\n", "names a Sentinel"),
            ("redis_version:6.2.14\r\nredis_mode:standalone\r\n", "6.2.14; Mayfly requires 7.0"),
            ("role:slave\r\nmaster_host:10.0.0.7\r\nmaster_port:6379\r\n", "10.0.0.7:6379"),
            ("maxmemory_policy:volatile-lru\r\n", "maxmemory-policy is volatile-lru"),
        ] {
            let found = find_unmet(lines).expect("an unmet requirement");
            assert!(found.contains(part), "{found}");
        }
    }

    #[test]
    fn suitable_server_meets_all_requirements() {
        let lines = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\n\
                     maxmemory_policy:noeviction\r\n";
        assert_eq!(find_unmet(lines), None);
        // A compatible server may report none of these fields.
        assert_eq!(find_unmet(""), None);
        assert_eq!(
            ServerInfo::parse("maxmemory_policy:allkeys-lru\r\n").find_unmet_requirement(true),
            None
        );
    }
}
