//! The HTTP baseline: an actix-web server in its own process whose handlers return a fixed
//! response, with as many workers as a service has.

use std::{net::TcpListener, process::Stdio};

use actix_web::{App, HttpResponse, HttpServer, http::KeepAlive, web};
use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
};

use super::connection::Response;
use crate::cores;

/// The arguments of the bare server.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The body of every response.
    response: String,
}

/// A message, parsed and discarded.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "parsing is part of the baseline")]
struct Message {
    channel: Option<String>,
    username: Option<String>,
    text: Option<String>,
    city: Option<String>,
    state: Option<String>,
    ttl: Option<u32>,
}

/// Serves until standard input is closed, so that the server cannot outlive the bench.
pub fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let response = web::Bytes::from(arguments.response.clone());
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(response.clone()))
                .route("/v1/messages", web::post().to(post_message))
                .route("/v1/messages/{id}", web::get().to(get_message))
        })
        .workers(cores())
        .tcp_nodelay(true)
        // Connections are idle while accepted messages are being stored.
        .keep_alive(KeepAlive::Os)
        .disable_signals()
        .listen(listener)?
        .run();
        let mut input = Vec::new();
        tokio::select! {
            outcome = server => outcome?,
            _closed = read_until_closed(&mut input) => {}
        }
        Ok(())
    })
}

async fn read_until_closed(input: &mut Vec<u8>) -> std::io::Result<usize> {
    tokio::io::stdin().read_to_end(input).await
}

async fn post_message(_: web::Json<Message>, response: web::Data<web::Bytes>) -> HttpResponse {
    HttpResponse::Accepted().content_type("application/json").body(response.get_ref().clone())
}

async fn get_message(_: web::Path<String>, response: web::Data<web::Bytes>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(response.get_ref().clone())
}

/// A running bare server. It stops when this is dropped.
#[derive(Debug)]
pub struct BareServer {
    /// The address, `host:port`.
    pub address: String,
    /// The length of every response body.
    length: usize,
    _process: Child,
}

impl BareServer {
    /// Starts a server that returns this body.
    pub async fn start(response: &str) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["bare", response])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the bare server")?;
        let stdout = process.stdout.take().context("invariant: stdout is piped")?;
        let address = BufReader::new(stdout).lines().next_line().await?;
        let address = address.context("the bare server did not start")?;
        Ok(Self { address, length: response.len(), _process: process })
    }

    /// Returns the expected response.
    pub fn expected_response(&self, status: u16) -> Response {
        Response { status, length: self.length }
    }
}
