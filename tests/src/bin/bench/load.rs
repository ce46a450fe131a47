//! The load: some connections, each of which sends its next request when it has its answer.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    connection::{Answer, Connection},
    effort::CONNECTIONS,
    requests::Requests,
};

/// Requests of one connection in one round: room for their latencies is made before.
const REQUESTS_MAX: usize = 100_000;
/// How long the last answers of a round may take.
const GRACE: Duration = Duration::from_secs(15);

/// Connections to one server, kept from round to round.
#[derive(Debug)]
pub struct Load {
    clients: Vec<Client>,
    expected: Answer,
}

#[derive(Debug)]
struct Client {
    connection: Connection,
    requests: Requests,
    latencies_us: Vec<u32>,
    failures: u64,
}

/// What came out of a round.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answers as they should be.
    pub answered: u64,
    /// Any other.
    pub failures: u64,
    /// How long it took until the last answer.
    pub elapsed: Duration,
    /// Of each answer, in microseconds, sorted.
    pub latencies_us: Vec<u32>,
}

impl Load {
    /// Connects to `host:port`; every answer is to be as expected.
    pub async fn connect(
        address: &str,
        requests: &Requests,
        expected: Answer,
    ) -> anyhow::Result<Self> {
        let mut clients = Vec::new();
        for number in 0..CONNECTIONS {
            let connection = Connection::open(address).await.context("cannot connect")?;
            let requests = requests.for_connection(number, CONNECTIONS);
            clients.push(Client { connection, requests, latencies_us: Vec::new(), failures: 0 });
        }
        Ok(Self { clients, expected })
    }

    /// Sends requests on every connection for so long, and waits for the last answers.
    pub async fn run(&mut self, round: Duration) -> anyhow::Result<Tally> {
        let mut tasks = JoinSet::new();
        let started = Instant::now();
        for client in self.clients.drain(..) {
            tasks.spawn(client.run(started + round, self.expected));
        }
        let clients =
            timeout(round + GRACE, tasks.join_all()).await.context("no answer in time")?;
        let mut tally = Tally { elapsed: started.elapsed(), ..Tally::default() };
        for mut client in clients {
            tally.answered += client.latencies_us.len() as u64;
            tally.failures += std::mem::take(&mut client.failures);
            tally.latencies_us.append(&mut client.latencies_us);
            self.clients.push(client);
        }
        tally.latencies_us.sort_unstable();
        Ok(tally)
    }
}

impl Client {
    async fn run(mut self, until: Instant, expected: Answer) -> Self {
        self.latencies_us.reserve(REQUESTS_MAX);
        let mut sent = Instant::now();
        while sent < until && self.latencies_us.len() < REQUESTS_MAX {
            let answer = self.connection.exchange(self.requests.next_request()).await;
            let received = Instant::now();
            match answer {
                Ok(answer) if answer == expected => {
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
