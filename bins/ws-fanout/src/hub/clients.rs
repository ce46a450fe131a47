//! The limit on the number of connections of one client.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use parking_lot::Mutex;

/// The numbers of connections of the clients of the process. A client is a key, the subject of a
/// token, or an address.
pub(crate) struct Clients {
    connections_max: Option<NonZeroU32>,
    connections: Mutex<HashMap<Arc<str>, u32>>,
}

/// A connection of a client, which counts until it is dropped.
pub(crate) struct ClientSlot {
    client: Arc<str>,
    clients: Arc<Clients>,
}

impl Clients {
    /// Creates the counts with a limit per client; `None` means no limit.
    pub(super) fn new(connections_max: Option<NonZeroU32>) -> Arc<Self> {
        Arc::new(Self { connections_max, connections: Mutex::default() })
    }

    /// Counts a connection of a client. Returns `None` if the client has reached the limit.
    pub(crate) fn admit(self: &Arc<Self>, client: &str) -> Option<ClientSlot> {
        let mut connections = self.connections.lock();
        let client = match connections.get_key_value(client) {
            Some((client, &open)) => {
                if self.connections_max.is_some_and(|max| open >= max.get()) {
                    return None;
                }
                Arc::clone(client)
            }
            None => Arc::from(client),
        };
        *connections.entry(Arc::clone(&client)).or_default() += 1;
        Some(ClientSlot { client, clients: Arc::clone(self) })
    }
}

impl ClientSlot {
    /// Returns the client.
    pub(crate) fn client(&self) -> &str {
        &self.client
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        let mut connections = self.clients.connections.lock();
        let Some(open) = connections.get_mut(&self.client) else { return };
        *open -= 1;
        if *open == 0 {
            connections.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_each_client_are_limited() {
        let clients = Clients::new(NonZeroU32::new(2));
        let (one, two) = (clients.admit("a"), clients.admit("a"));
        assert!(one.is_some() && two.is_some() && clients.admit("a").is_none());
        let other = clients.admit("b").expect("another client");
        assert_eq!(other.client(), "b");
        drop(one);
        assert!(clients.admit("a").is_some(), "a connection has been closed");
        drop((two, other));
        assert!(clients.connections.lock().is_empty(), "closed connections use no memory");
    }

    #[test]
    fn connections_are_counted_without_a_limit() {
        let clients = Clients::new(None);
        let slots: Vec<_> = (0..1_000).map(|_| clients.admit("a")).collect();
        assert!(slots.iter().all(Option::is_some));
        assert_eq!(clients.connections.lock().values().copied().sum::<u32>(), 1_000);
    }
}
