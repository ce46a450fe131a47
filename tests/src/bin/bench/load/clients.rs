//! Closed-loop clients: each client sends its next request after it has received a response.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::{task::JoinSet, time::timeout};

use super::{
    connection::{Connection, Response},
    requests::Requests,
};
use crate::effort::CONNECTIONS;

/// The maximum number of requests of one connection in one round; latency buffers are preallocated.
const MAX_REQUESTS: usize = 100_000;
/// How long a round waits for its last responses.
const LAST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);

/// Connections to one server, reused in every round.
#[derive(Debug)]
pub struct Load {
    clients: Vec<Client>,
    expected: Response,
}

#[derive(Debug)]
struct Client {
    connection: Connection,
    requests: Requests,
    latencies_us: Vec<u32>,
    failures: u64,
}

/// The result of a round.
#[derive(Debug, Default)]
pub struct RoundResult {
    /// The number of expected responses.
    pub answered: u64,
    /// The number of other outcomes.
    pub failures: u64,
    /// The time until the last response.
    pub elapsed: Duration,
    /// The latency of each response in microseconds, sorted.
    pub latencies_us: Vec<u32>,
}

impl Load {
    /// Connects to an address, `host:port`. Any response other than `expected` counts as a failure.
    pub async fn connect(
        address: &str,
        requests: &Requests,
        expected: Response,
    ) -> anyhow::Result<Self> {
        let mut clients = Vec::new();
        for number in 0..CONNECTIONS {
            let connection = Connection::open(address).await.context("cannot connect")?;
            let requests = requests.for_connection(number, CONNECTIONS);
            clients.push(Client { connection, requests, latencies_us: Vec::new(), failures: 0 });
        }
        Ok(Self { clients, expected })
    }

    /// Sends requests on every connection for `round` and waits for the last responses.
    pub async fn run(&mut self, round: Duration) -> anyhow::Result<RoundResult> {
        let mut tasks = JoinSet::new();
        let started = Instant::now();
        for client in self.clients.drain(..) {
            tasks.spawn(client.run(started + round, self.expected));
        }
        let clients = timeout(round + LAST_RESPONSE_TIMEOUT, tasks.join_all())
            .await
            .context("no response within the timeout")?;
        let mut result = RoundResult { elapsed: started.elapsed(), ..RoundResult::default() };
        for mut client in clients {
            result.answered += client.latencies_us.len() as u64;
            result.failures += std::mem::take(&mut client.failures);
            result.latencies_us.append(&mut client.latencies_us);
            self.clients.push(client);
        }
        result.latencies_us.sort_unstable();
        Ok(result)
    }
}

impl Client {
    async fn run(mut self, until: Instant, expected: Response) -> Self {
        self.latencies_us.reserve(MAX_REQUESTS);
        let mut sent = Instant::now();
        while sent < until && self.latencies_us.len() < MAX_REQUESTS {
            let response = self.connection.exchange(self.requests.next_request()).await;
            let received = Instant::now();
            match response {
                Ok(response) if response == expected => {
                    let latency = (received - sent).as_micros();
                    self.latencies_us.push(u32::try_from(latency).unwrap_or(u32::MAX));
                }
                Ok(_) => self.failures += 1,
                Err(_) => {
                    self.failures += 1;
                    return self;
                }
            }
            sent = received;
        }
        self
    }
}
