//! What Mayfly is measured against: an actix-web handler that does nothing but its HTTP, in a
//! process of its own, with as many workers as a service has.

use std::{net::TcpListener, process::Stdio};

use actix_web::{App, HttpResponse, HttpServer, http::KeepAlive, web};
use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{connection::Answer, cores};

/// What the bare server is told.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The body of every answer.
    answer: String,
}

/// A message as the bare handler parses it.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "parsed, as every server must, and used for nothing")]
struct Message {
    channel: Option<String>,
    username: Option<String>,
    text: Option<String>,
    city: Option<String>,
    state: Option<String>,
    ttl: Option<u32>,
}

/// Serves until standard input ends, so that no bare server outlives its bench.
pub fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let answer = web::Bytes::from(arguments.answer.clone());
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(answer.clone()))
                .route("/v1/messages", web::post().to(post_message))
                .route("/v1/messages/{id}", web::get().to(get_message))
        })
        .workers(cores())
        .tcp_nodelay(true)
        // Its connections are idle while what Mayfly accepted is stored.
        .keep_alive(KeepAlive::Os)
        .disable_signals()
        .listen(listener)?
        .run();
        let mut end = Vec::new();
        tokio::select! {
            outcome = server => outcome?,
            _ended = wait_for_end(&mut end) => {}
        }
        Ok(())
    })
}

async fn wait_for_end(end: &mut Vec<u8>) -> std::io::Result<usize> {
    tokio::io::stdin().read_to_end(end).await
}

async fn post_message(_: web::Json<Message>, answer: web::Data<web::Bytes>) -> HttpResponse {
    HttpResponse::Accepted().content_type("application/json").body(answer.get_ref().clone())
}

async fn get_message(_: web::Path<String>, answer: web::Data<web::Bytes>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(answer.get_ref().clone())
}

/// The bare server, running. It ends when this is dropped.
#[derive(Debug)]
pub struct Bare {
    /// Its `host:port`.
    pub address: String,
    /// The length of every answer.
    length: usize,
    _process: Child,
}

impl Bare {
    /// Starts one that always answers the same.
    pub async fn start(answer: &str) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["bare", answer])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the bare server")?;
        let said = process.stdout.take().context("invariant: its output is piped")?;
        let address = BufReader::new(said).lines().next_line().await?;
        let address = address.context("the bare server did not start")?;
        Ok(Self { address, length: answer.len(), _process: process })
    }

    /// What it answers.
    pub fn answer(&self, status: u16) -> Answer {
        Answer { status, length: self.length }
    }
}
