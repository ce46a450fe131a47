//! What fan-out is measured against: servers that do nothing but write. They make the messages
//! themselves, so that nothing has to reach them, and share neither work nor memory between cores.

use std::{
    net::{TcpListener, TcpStream as StdTcpStream},
    ops::Range,
    process::Stdio,
    thread,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{self, TcpStream},
    process::{Child, ChildStdin, Command},
    runtime::Builder,
    sync::mpsc::{self, Receiver, Sender},
};

use super::{frames::text_frame, handshake, pace::Pace, stamp};
use crate::cores;

/// What the server is told.
#[derive(Debug, Args)]
pub struct Arguments {
    way: Way,
    /// The payload of every frame.
    payload: String,
}

/// How the server writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// Once for each message and socket.
    Plain,
    /// Once for each socket, whatever has become due meanwhile.
    Joining,
}

/// What a core is told.
enum Order {
    Join(StdTcpStream),
    Send(Pace),
}

/// Serves until standard input ends. Every line of it is a pace of messages for everyone.
pub fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    super::raise_limit()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    listener.set_nonblocking(true)?;
    let mut shards = Vec::new();
    for _ in 0..cores() {
        let (orders, told) = mpsc::channel(super::SOCKETS);
        let shard = Shard::new(arguments)?;
        thread::Builder::new().spawn(move || shard.run(told))?;
        shards.push(orders);
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = net::TcpListener::from_std(listener)?;
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        for number in 0.. {
            tokio::select! {
                accepted = listener.accept() => {
                    let stream = handshake::accept(accepted?.0).await?.into_std()?;
                    shards[number % shards.len()].send(Order::Join(stream)).await?;
                }
                line = lines.next_line() => {
                    let Some(line) = line? else { return Ok(()) };
                    let pace = Pace::read(&line).context("not a pace")?;
                    tell_all(&shards, pace).await?;
                }
            }
        }
        Ok(())
    })
}

async fn tell_all(shards: &[Sender<Order>], pace: Pace) -> anyhow::Result<()> {
    for orders in shards {
        orders.send(Order::Send(pace)).await?;
    }
    Ok(())
}

/// A part of the sockets, on a thread of their own.
struct Shard {
    way: Way,
    frame: Vec<u8>,
    stamp: Range<usize>,
    sockets: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl Shard {
    fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let frame = text_frame(arguments.payload.as_bytes());
        let stamp = stamp::find(&frame).context("there is no place for a stamp")?;
        Ok(Self { way: arguments.way, frame, stamp, sockets: Vec::new(), buffer: Vec::new() })
    }

    fn run(mut self, mut orders: Receiver<Order>) {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            while let Some(order) = orders.recv().await {
                match order {
                    Order::Send(pace) => self.send(pace).await,
                    Order::Join(stream) => self.sockets.extend(TcpStream::from_std(stream)),
                }
            }
        });
    }

    async fn send(&mut self, pace: Pace) {
        let mut sent = 0;
        while sent < pace.count {
            let due = pace.due();
            if due == sent {
                pace.wait_for(sent).await;
                continue;
            }
            let until = match self.way {
                Way::Plain => sent + 1,
                Way::Joining => due,
            };
            self.buffer.clear();
            for index in sent..until {
                stamp::write(&mut self.frame[self.stamp.clone()], pace.due_us(index));
                self.buffer.extend(&self.frame);
            }
            self.write().await;
            sent = until;
        }
    }

    /// Writes what is in the buffer to everyone, and forgets who is gone.
    async fn write(&mut self) {
        let mut number = 0;
        while let Some(socket) = self.sockets.get_mut(number) {
            match socket.write_all(&self.buffer).await {
                Ok(()) => number += 1,
                Err(_) => drop(self.sockets.swap_remove(number)),
            }
        }
    }
}

/// Such a server, running. It ends when this is dropped.
#[derive(Debug)]
pub struct Floor {
    /// Its `host:port`.
    pub address: String,
    orders: ChildStdin,
    _process: Child,
}

impl Floor {
    /// Starts one whose frames have this payload.
    pub async fn start(way: Way, payload: &str) -> anyhow::Result<Self> {
        let way = way.to_possible_value().context("invariant: every way has a name")?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["floor", way.get_name(), payload])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a floor")?;
        let orders = process.stdin.take().context("invariant: its input is piped")?;
        let said = process.stdout.take().context("invariant: its output is piped")?;
        let address = BufReader::new(said).lines().next_line().await?;
        let address = address.context("a floor did not start")?;
        Ok(Self { address, orders, _process: process })
    }

    /// Sends messages to all who are connected; returns when the last is due.
    pub async fn send(&mut self, pace: &Pace) -> anyhow::Result<()> {
        self.orders.write_all(format!("{}\n", pace.describe()).as_bytes()).await?;
        pace.wait_for(pace.count).await;
        Ok(())
    }
}
