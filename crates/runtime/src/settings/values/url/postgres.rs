//! The connection URL for Postgres.

use std::ops::RangeInclusive;

use super::{
    Format, Rule,
    authority::{
        CREDENTIALS_RULE, HOST_RULE, check_credentials, check_host, decode, parse_port,
        split_credentials, split_port,
    },
    target::TargetSession,
    tls::{InvalidTlsParameter, TlsParameters},
};
use crate::settings::values::duration::KERNEL_SECONDS_MAX;

pub(super) const FORMAT: Format = Format {
    schemes: ["postgres://", "postgresql://"],
    example: "postgres://user:password@host:5432/database",
};

/// The maximum time to connect to one host, in seconds.
const CONNECT_TIMEOUT_SECONDS_MAX: u64 = 4_294_967_295;
/// The maximum number of TCP keepalive probes that the kernel accepts.
const KEEPALIVE_RETRIES_MAX: u64 = 127;
/// The maximum TCP user timeout that the kernel accepts (2^31 - 1 ms), in whole seconds.
const USER_TIMEOUT_SECONDS_MAX: u64 = 2_147_483;

/// Checks a URL without its scheme, and the files that it names.
pub(super) fn check(rest: &str) -> Result<(), InvalidTlsParameter> {
    let parameters = check_text(rest)?;
    parameters.read_files().map(drop)
}

/// Checks a URL without its scheme. Returns the parameters that concern TLS.
fn check_text(rest: &str) -> Result<TlsParameters, Rule> {
    if rest.contains('#') {
        return Err("a fragment (#) is not allowed; write # within the password as %23");
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, addresses) = split_credentials(authority)?;
    if let Some(credentials) = credentials {
        check_credentials(credentials)?;
    }
    // The client library searches the whole URL for the end of the credentials.
    if database.contains('@') || query.contains('@') {
        return Err(CREDENTIALS_RULE);
    }
    if database.contains('/') || decode(database)?.contains('\0') {
        return Err("the path must be the name of a database");
    }
    let mut has_host = !addresses.is_empty();
    if has_host {
        addresses.split(',').try_for_each(check_address)?;
    }
    let mut tls = TlsParameters::default();
    for parameter in query.split('&').filter(|_| !query.is_empty()) {
        let (name, value) =
            parameter.split_once('=').ok_or("a parameter must be written as name=value")?;
        let value = decode(value)?;
        has_host |= matches!(name, "host" | "hostaddr");
        if !tls.record(name, &value)? {
            check_parameter(name, &value)?;
        }
    }
    if has_host { Ok(tls) } else { Err("it must contain a host") }
}

/// Removes the parameters from a connection URL for which `take`, which receives the name and the
/// decoded value of each parameter, returns true.
pub(super) fn remove_parameters(
    url: &str,
    mut take: impl FnMut(&str, &str) -> Result<bool, Rule>,
) -> Result<String, Rule> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut rest = base.to_owned();
    let mut separator = '?';
    for parameter in query.split('&').filter(|_| !query.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !take(name, &decode(value)?)? {
            rest.push(separator);
            rest.push_str(parameter);
            separator = '&';
        }
    }
    Ok(rest)
}

/// Checks one host in a URL: a name, an IP address, or the percent-encoded directory of a Unix
/// socket.
fn check_address(address: &str) -> Result<(), Rule> {
    let (host, _) = split_port(address)?;
    if decode(host)?.starts_with('/') { Ok(()) } else { check_host(host) }
}

fn check_parameter(name: &str, value: &str) -> Result<(), Rule> {
    let is_one_of = |values: &[&str]| values.contains(&value);
    let is_number = |range: RangeInclusive<u64>| {
        value.bytes().all(|byte| byte.is_ascii_digit())
            && value.parse::<u64>().is_ok_and(|number| range.contains(&number))
    };
    match name {
        "host" if value.starts_with('/') => Ok(()),
        "host" => check_host(value),
        "hostaddr" => {
            let mut addresses = value.split(',');
            let is_valid = addresses.all(|one| one.parse::<std::net::IpAddr>().is_ok());
            if is_valid { Ok(()) } else { Err(HOST_RULE) }
        }
        "port" => value.split(',').try_for_each(|port| parse_port(port).map(|_| ())),
        "user" | "password" | "dbname" | "options" | "application_name" => Ok(()),
        "channel_binding" if is_one_of(&["disable", "prefer", "require"]) => Ok(()),
        "channel_binding" => Err("channel_binding must be disable, prefer or require"),
        "target_session_attrs" => TargetSession::parse(value).map(drop),
        "load_balance_hosts" if is_one_of(&["disable", "random"]) => Ok(()),
        "load_balance_hosts" => Err("load_balance_hosts must be disable or random"),
        "connect_timeout" if is_number(0..=CONNECT_TIMEOUT_SECONDS_MAX) => Ok(()),
        "connect_timeout" => {
            Err("connect_timeout must be a whole number of seconds up to 4294967295")
        }
        "keepalives" if is_number(0..=u64::MAX) => Ok(()),
        "keepalives" => Err("keepalives must be 0 (off) or 1 (on)"),
        // The client library replaces 0 with the default, but not for the number of probes.
        "keepalives_idle" | "keepalives_interval" if is_number(0..=KERNEL_SECONDS_MAX) => Ok(()),
        "keepalives_idle" => {
            Err("keepalives_idle must be a whole number of seconds from 0 (default) to 32767")
        }
        "keepalives_interval" => {
            Err("keepalives_interval must be a whole number of seconds from 0 (default) to 32767")
        }
        "keepalives_retries" if is_number(1..=KEEPALIVE_RETRIES_MAX) => Ok(()),
        "keepalives_retries" => Err("keepalives_retries must be a whole number from 1 to 127"),
        "tcp_user_timeout" if is_number(0..=USER_TIMEOUT_SECONDS_MAX) => Ok(()),
        "tcp_user_timeout" => {
            Err("tcp_user_timeout must be a whole number of seconds from 0 (default) to 2147483")
        }
        _ => Err("the query has an unknown parameter; known are application_name, \
                  channel_binding, connect_timeout, dbname, host, hostaddr, keepalives, \
                  keepalives_idle, keepalives_interval, keepalives_retries, load_balance_hosts, \
                  options, password, port, sslcert, sslkey, sslmode, sslnegotiation, sslrootcert, \
                  target_session_attrs, tcp_user_timeout, user"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse_text, postgres};

    #[test]
    fn url_of_postgres_names_one_or_more_hosts() {
        for url in [
            "postgres://127.0.0.1/mayfly",
            "postgresql://user:p%40ss@db.example.org:5432/mayfly",
            "postgres://a:5432,b:5433/mayfly?target_session_attrs=read-write",
            "postgres://a,b/mayfly?target_session_attrs=primary",
            "postgres://a,b/mayfly?target_session_attrs=prefer-standby",
            "postgres://me@[::1]:5432/mayfly?sslmode=prefer&connect_timeout=3",
            "postgres://h/x?sslmode=require&channel_binding=require",
            "postgres://h/x?sslmode=verify-full&sslrootcert=system",
            "postgres://h/x?keepalives_idle=0&keepalives_interval=0&keepalives_retries=1",
            "postgres://h/x?keepalives_idle=32767&keepalives_interval=32767&keepalives_retries=127",
            "postgres://h/x?keepalives=1&tcp_user_timeout=2147483&connect_timeout=4294967295",
            "postgres:///mayfly?host=/var/run/postgresql&user=me",
            "postgres://%2Fvar%2Frun%2Fpostgresql/mayfly",
            "postgres://h",
        ] {
            assert!(parse_text(postgres, url).is_ok(), "{url}");
        }
    }

    #[test]
    fn url_that_the_client_rejects_is_rejected_with_the_rule() {
        for (url, rule) in [
            ("mysql://h/x", "starts with postgres:// or postgresql://"),
            ("postgres://", "it must contain a host"),
            ("postgres:///mayfly", "it must contain a host"),
            ("postgres://:p@ss/w@h/x", "%40"),
            ("postgres://me:p/w@h/x", "%2F"),
            ("postgres://a:b@c:d@e/x", "%40"),
            ("postgres://h:99999/x", "the port must be"),
            ("postgres://h:0/x", "the port must be"),
            ("postgres://a,,b/x", "the host must be"),
            ("postgres://h/x/y", "the name of a database"),
            ("postgres://h/x#y", "a fragment"),
            ("postgres://h/x?sslmode=verify", "prefer, require, verify-ca or verify-full"),
            ("postgres://h/x?sslmode=verify-full", "require sslrootcert"),
            ("postgres://h/x?sslrootcert=/nowhere/ca.pem", "the file cannot be read"),
            ("postgres://h/x?channel_binding=on", "disable, prefer or require"),
            ("postgres://h/x?pool_timeout=10", "unknown parameter"),
            ("postgres://h/x?connect_timeout=soon", "connect_timeout must be a whole number"),
            ("postgres://h/x?keepalives=", "keepalives must be 0 (off) or 1"),
            ("postgres://h/x?keepalives_idle=32768", "keepalives_idle must be"),
            ("postgres://h/x?keepalives_idle=-1", "from 0 (default) to 32767"),
            ("postgres://h/x?keepalives_interval=32768", "keepalives_interval must be"),
            ("postgres://h/x?keepalives_retries=0", "keepalives_retries must be"),
            ("postgres://h/x?keepalives_retries=128", "from 1 to 127"),
            ("postgres://h/x?tcp_user_timeout=2147484", "tcp_user_timeout must be"),
            ("postgres://h/x?target_session_attrs=master", "target_session_attrs must be"),
            ("postgres://h/x?sslmode", "name=value"),
            ("postgres://h/x?password=a@b", "%40"),
        ] {
            let error = parse_text(postgres, url).map(|_| ()).expect_err(url);
            assert!(error.contains(rule), "{url}: {error}");
        }
    }
}
