//! The fan-out baseline: servers that do nothing but write. They generate the messages themselves
//! and share neither work nor memory between cores.

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

use super::{frames::text_frame, handshake, schedule::Schedule, timestamp};
use crate::cores;

/// The arguments of a baseline server.
#[derive(Debug, Args)]
pub struct Arguments {
    mode: WriteMode,
    /// The payload of every frame.
    payload: String,
}

/// How a baseline server writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WriteMode {
    /// One write for each message and socket.
    Plain,
    /// One write per socket for all due messages.
    Coalescing,
}

/// A command to a worker.
enum WorkerCommand {
    Add(StdTcpStream),
    Send(Schedule),
}

/// Serves until standard input is closed. Each line of the input is a schedule of messages to send.
pub fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    super::raise_file_limit()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    listener.set_nonblocking(true)?;
    let mut workers = Vec::new();
    for _ in 0..cores() {
        let (sender, commands) = mpsc::channel(super::SOCKETS);
        let worker = Worker::new(arguments)?;
        thread::Builder::new().spawn(move || worker.run(commands))?;
        workers.push(sender);
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = net::TcpListener::from_std(listener)?;
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        for number in 0.. {
            tokio::select! {
                accepted = listener.accept() => {
                    let stream = handshake::accept(accepted?.0).await?.into_std()?;
                    workers[number % workers.len()].send(WorkerCommand::Add(stream)).await?;
                }
                line = lines.next_line() => {
                    let Some(line) = line? else { return Ok(()) };
                    let schedule = Schedule::parse(&line).context("not a schedule")?;
                    send_to_all(&workers, schedule).await?;
                }
            }
        }
        Ok(())
    })
}

async fn send_to_all(workers: &[Sender<WorkerCommand>], schedule: Schedule) -> anyhow::Result<()> {
    for worker in workers {
        worker.send(WorkerCommand::Send(schedule)).await?;
    }
    Ok(())
}

/// A thread with its share of the sockets.
struct Worker {
    mode: WriteMode,
    frame: Vec<u8>,
    timestamp: Range<usize>,
    sockets: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl Worker {
    fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let frame = text_frame(arguments.payload.as_bytes());
        let timestamp = timestamp::find(&frame).context("the frame has no room for a timestamp")?;
        let (sockets, buffer) = (Vec::new(), Vec::new());
        Ok(Self { mode: arguments.mode, frame, timestamp, sockets, buffer })
    }

    fn run(mut self, mut commands: Receiver<WorkerCommand>) {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("the runtime is built").block_on(async {
            while let Some(command) = commands.recv().await {
                match command {
                    WorkerCommand::Send(schedule) => self.send(schedule).await,
                    WorkerCommand::Add(stream) => self.sockets.extend(TcpStream::from_std(stream)),
                }
            }
        });
    }

    async fn send(&mut self, schedule: Schedule) {
        let mut sent = 0;
        while sent < schedule.count {
            let due = schedule.due();
            if due == sent {
                schedule.wait_for(sent).await;
                continue;
            }
            let until = match self.mode {
                WriteMode::Plain => sent + 1,
                WriteMode::Coalescing => due,
            };
            self.buffer.clear();
            for index in sent..until {
                timestamp::write(&mut self.frame[self.timestamp.clone()], schedule.due_us(index));
                self.buffer.extend(&self.frame);
            }
            self.write().await;
            sent = until;
        }
    }

    /// Writes the buffer to every socket and removes disconnected ones.
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

/// A running baseline server. It stops when this is dropped.
#[derive(Debug)]
pub struct Baseline {
    /// The address, `host:port`.
    pub address: String,
    input: ChildStdin,
    _process: Child,
}

impl Baseline {
    /// Starts a server whose frames have this payload.
    pub async fn start(mode: WriteMode, payload: &str) -> anyhow::Result<Self> {
        let mode = mode.to_possible_value().context("invariant: every mode has a name")?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["fan-out-baseline", mode.get_name(), payload])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a baseline server")?;
        let input = process.stdin.take().context("invariant: stdin is piped")?;
        let stdout = process.stdout.take().context("invariant: stdout is piped")?;
        let address = BufReader::new(stdout).lines().next_line().await?;
        let address = address.context("a baseline server did not start")?;
        Ok(Self { address, input, _process: process })
    }

    /// Sends messages to all sockets and returns when the last one is due.
    pub async fn send(&mut self, schedule: &Schedule) -> anyhow::Result<()> {
        self.input.write_all(format!("{schedule}\n").as_bytes()).await?;
        schedule.wait_for(schedule.count).await;
        Ok(())
    }
}
