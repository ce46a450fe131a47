//! The addresses of the servers in a URL.

use std::{fmt, net::IpAddr, path::Path};

use tokio_postgres::{Config, config::Host};

const PORT: u16 = 5432;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp {
        /// The name or the IP address to connect to.
        host: String,
        port: u16,
        /// The name or the IP address that the certificate of the server must contain. Differs from
        /// `host` if the URL contains both a name (`host`) and an IP address (`hostaddr`).
        name: String,
    },
    /// The path of a Unix socket.
    Unix(String),
}

impl Address {
    pub(super) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => formatter.write_str(path),
        }
    }
}

/// Returns the addresses in the order of the URL.
pub(super) fn list_addresses(config: &Config) -> Vec<Address> {
    let (hosts, addresses, ports) =
        (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    (0..count)
        .filter_map(|index| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(PORT);
            let address = addresses.get(index).map(IpAddr::to_string);
            match hosts.get(index) {
                Some(Host::Unix(directory)) => Some(socket_address(directory, port)),
                Some(Host::Tcp(name)) => {
                    let host = address.unwrap_or_else(|| name.clone());
                    Some(Address::Tcp { host, port, name: name.clone() })
                }
                None => address.map(|host| Address::Tcp { name: host.clone(), port, host }),
            }
        })
        .collect()
}

fn socket_address(directory: &Path, port: u16) -> Address {
    Address::Unix(directory.join(format!(".s.PGSQL.{port}")).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> Vec<Address> {
        list_addresses(&url.parse().expect("a valid URL"))
    }

    #[test]
    fn addresses_have_ports_and_are_in_the_order_of_the_url() {
        let named = |host: &str, port, name: &str| Address::Tcp {
            host: host.to_owned(),
            port,
            name: name.to_owned(),
        };
        let tcp = |host: &str, port| named(host, port, host);
        assert_eq!(addresses("postgres://a,b:5433/x"), [tcp("a", 5432), tcp("b", 5433)]);
        assert_eq!(addresses("postgres://[::1]:1/x"), [tcp("::1", 1)]);
        assert_eq!(
            addresses("postgres:///x?host=/run/postgresql"),
            [Address::Unix("/run/postgresql/.s.PGSQL.5432".to_owned())]
        );
        assert_eq!(
            addresses("postgres://name:7/x?hostaddr=10.0.0.1"),
            [named("10.0.0.1", 7, "name")]
        );
        assert_eq!(addresses("postgres:///x?hostaddr=10.0.0.1"), [tcp("10.0.0.1", 5432)]);
    }
}
