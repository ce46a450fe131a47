//! A minimal HTTP server with responses from a closure.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// Starts a server that maps a path to a status and JSON, and returns the URL of the server. The
/// server stops when the test ends.
pub(super) async fn serve<F>(respond: impl Fn(String) -> F + Clone + Send + 'static) -> String
where
    F: Future<Output = (u16, String)> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(handle_connection(client, respond.clone()));
        }
    });
    format!("http://{address}")
}

async fn handle_connection<F: Future<Output = (u16, String)>>(
    client: TcpStream,
    respond: impl Fn(String) -> F,
) {
    let mut client = BufReader::new(client);
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await.expect("valid UTF-8");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("`Content-Length` is a number");
        } else if path.is_empty() {
            path = line.split(' ').nth(1).expect("the request has a path").to_owned();
        }
    }
    client.read_exact(&mut vec![0; length]).await.expect("the body is complete");
    let (status, json) = respond(path).await;
    let head = format!(
        "HTTP/1.1 {status} Any\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        json.len()
    );
    let written = client.write_all(format!("{head}{json}").as_bytes()).await;
    written.expect("the response is sent");
}
