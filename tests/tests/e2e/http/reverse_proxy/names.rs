//! nginx with the names of the services, as in Docker Compose: a name server returns their current
//! addresses. The services are replaced by servers that respond with their own address.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use mayfly_stack::reserve_free_port;
use mayfly_tests::{DEFAULT_TIMEOUT, ReverseProxy, eventually};
use reqwest::{Client, Method};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    task::AbortHandle,
};

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// A request to each service.
const REQUESTS: [(Method, &str); 3] =
    [(Method::POST, "/v1/messages"), (Method::GET, "/v1/messages"), (Method::GET, "/mayfly.js")];

/// A name server that resolves every name to the same addresses.
struct NameServer {
    port: u16,
    addresses: Arc<Mutex<Vec<Ipv4Addr>>>,
}

impl NameServer {
    async fn start(addresses: &[Ipv4Addr]) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let port = socket.local_addr().expect("a bound socket").port();
        let addresses = Arc::new(Mutex::new(addresses.to_vec()));
        let current = addresses.clone();
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((size, client)) = socket.recv_from(&mut query).await {
                let addresses = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let response = answer(&query[..size], &addresses);
                let _ = socket.send_to(&response, client).await;
            }
        });
        Self { port, addresses }
    }

    fn set(&self, addresses: &[Ipv4Addr]) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses.to_vec();
    }
}

/// Returns the response to a query for one name (RFC 1035, section 4): the `A` records, or
/// `NXDOMAIN` without addresses. The TTL of the records is longer than a test.
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    const HEADER_BYTES: usize = 12;
    let code = if addresses.is_empty() { 3 } else { 0 };
    let mut response = query[..2].to_vec();
    response.extend([0x81, 0x80 | code, 0, 1]);
    response.extend(u16::try_from(addresses.len()).expect("few addresses").to_be_bytes());
    response.extend([0; 4]);
    let labels = query[HEADER_BYTES..].iter().position(|byte| *byte == 0).expect("a name ends");
    response.extend(&query[HEADER_BYTES..HEADER_BYTES + labels + 5]);
    for address in addresses {
        // The name of the question, type A, class IN, 600 s, 4 bytes.
        response.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0x02, 0x58, 0, 4]);
        response.extend(address.octets());
    }
    response
}

/// Starts a server that responds to each request with its address.
async fn start_instance(address: Ipv4Addr, port: u16) -> AbortHandle {
    let listener = TcpListener::bind((address, port)).await.expect("the port is free");
    let serve = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let body = address.to_string();
            let response =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(response.as_bytes()).await;
        }
    };
    tokio::spawn(serve).abort_handle()
}

/// Sends a request to each service and returns the responses.
async fn request_all(http: &Client, url: &str) -> Vec<(u16, String)> {
    let mut responses = Vec::new();
    for (method, path) in REQUESTS {
        let response = http.request(method, format!("{url}{path}")).send().await;
        let response = response.expect("the proxy responds");
        let status = response.status().as_u16();
        responses.push((status, response.text().await.expect("a text")));
    }
    responses
}

#[tokio::test]
async fn addresses_of_recreated_and_scaled_services_are_found_without_a_reload() {
    let (service, port) = (reserve_free_port(), reserve_free_port());
    let (service, port) = (service.expect("a port is free"), port.expect("a port is free"));
    let dir = tempfile::tempdir().expect("the directory is created");
    let names = NameServer::start(&[FIRST]).await;
    let first = start_instance(FIRST, service.port).await;
    let proxy = ReverseProxy::start_with_names(names.port, service.port, port, dir.path()).await;
    let http = Client::new();
    let all_from = |address: Ipv4Addr| vec![(200, address.to_string()); REQUESTS.len()];
    assert_eq!(request_all(&http, &proxy.url).await, all_from(FIRST));

    // A container is recreated with another address.
    let _second = start_instance(SECOND, service.port).await;
    first.abort();
    names.set(&[SECOND]);
    eventually(DEFAULT_TIMEOUT, "the new address is used", async || {
        let responses = request_all(&http, &proxy.url).await;
        if responses == all_from(SECOND) { Ok(()) } else { Err(responses) }
    })
    .await;

    // A service is scaled.
    let _third = eventually(DEFAULT_TIMEOUT, "the address is free again", async || {
        TcpListener::bind((FIRST, service.port)).await.map(drop)?;
        std::io::Result::Ok(start_instance(FIRST, service.port).await)
    })
    .await;
    names.set(&[FIRST, SECOND]);
    eventually(DEFAULT_TIMEOUT, "the additional address is used", async || {
        let responses = request_all(&http, &proxy.url).await;
        if responses.contains(&(200, FIRST.to_string())) { Ok(()) } else { Err(responses) }
    })
    .await;

    // A service is removed.
    names.set(&[]);
    eventually(DEFAULT_TIMEOUT, "the proxy reports that no service is available", async || {
        let responses = request_all(&http, &proxy.url).await;
        let is_problem =
            |(status, body): &(u16, String)| *status == 503 && body.contains(r#""unavailable""#);
        if responses.iter().all(is_problem) { Ok(()) } else { Err(responses) }
    })
    .await;
}
