//! A small HTTP server that answers what a test tells it to.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// Starts a server that answers each request by its path, status and JSON; gives where it is. It ends
/// with the test.
pub(super) async fn serve<F>(answer: impl Fn(String) -> F + Clone + Send + 'static) -> String
where
    F: Future<Output = (u16, String)> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(answer_one(client, answer.clone()));
        }
    });
    format!("http://{address}")
}

async fn answer_one<F: Future<Output = (u16, String)>>(
    client: TcpStream,
    answer: impl Fn(String) -> F,
) {
    let mut client = BufReader::new(client);
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await.expect("a head is text");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length is a number");
        } else if path.is_empty() {
            path = line.split(' ').nth(1).expect("a request has a path").to_owned();
        }
    }
    client.read_exact(&mut vec![0; length]).await.expect("a body is as long as it says");
    let (status, json) = answer(path).await;
    let head = format!(
        "HTTP/1.1 {status} Any\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        json.len()
    );
    let answered = client.write_all(format!("{head}{json}").as_bytes()).await;
    answered.expect("the answer is taken");
}
