//! Connections over TLS.

use std::{fs, path::Path, process::Command};

use mayfly_core::StateFeed;
use mayfly_hot::{HotError, HotStore};
use mayfly_stack::{find_tool, reserve_free_port};
use tempfile::tempdir;

use super::{eventually, server::redis_server};
use crate::TestStore;

fn openssl(directory: &Path, arguments: &str) {
    let mut command = Command::new(find_tool("openssl").expect("openssl is installed"));
    let output = command.args(arguments.split_whitespace()).current_dir(directory).output();
    let output = output.expect("openssl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Creates a certificate authority (`ca.pem`) and a server certificate that the authority signed.
fn create_certificates(directory: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(directory, &format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"));
    openssl(directory, &format!("req {key} -keyout server.key -out server.csr -subj /CN=server"));
    fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
    openssl(
        directory,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem \
         -days 2 -extfile names",
    );
}

async fn call(hot: &HotStore) -> Result<(), HotError> {
    hot.snapshots().find_state(StateFeed::Stats).await.map(drop)
}

#[tokio::test]
async fn server_is_verified_with_the_configured_authority() {
    let directory = tempdir().expect("a directory");
    create_certificates(directory.path());
    let port = reserve_free_port().expect("a free port");
    let mut command = redis_server(directory.path());
    command.args(["--port", "0", "--save", "", "--tls-auth-clients", "no"]);
    command.args(["--tls-port", &port.port.to_string(), "--tls-ca-cert-file", "ca.pem"]);
    command.args(["--tls-cert-file", "server.pem", "--tls-key-file", "server.key"]);
    let mut process = command.spawn().expect("redis-server starts");

    let url = format!("rediss://127.0.0.1:{}", port.port);
    let authority = directory.path().join("ca.pem");
    let authority = authority.to_str().expect("valid UTF-8");
    let trusting = TestStore::create_store(&url, "mayfly", &[("MAYFLY_REDIS__CA_FILE", authority)]);
    eventually("the server accepts TLS connections", async || call(&trusting).await).await;
    // The authority is unknown to the operating system.
    let error = call(&TestStore::create_store(&url, "mayfly", &[])).await.expect_err("unverified");
    assert!(error.to_string().contains("certificate"), "{error}");

    process.wait().expect("the server was killed");
}
