//! TLS, addresses and unix sockets.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use outlast_vault::http::{BindError, Identity, Limits, Listen, Refusal, Server, Tls, self_signed};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::support::{
    Running, Seen, limits, loopback, read_all, read_answer, start, start_at, talk, text,
};

fn identity() -> Identity {
    self_signed(&["127.0.0.1".to_string(), "localhost".to_string()]).unwrap()
}

fn start_tls(identity: &Identity, limits: Limits) -> Running {
    let (certificate, key) = (&identity.certificate_pem, &identity.key_pem);
    let tls = Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    start_at(&loopback(), Some(tls), limits)
}

fn agent(trusted: &Identity) -> ureq::Agent {
    let certificate = Certificate::from_pem(trusted.certificate_pem.as_bytes()).unwrap();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[certificate]))
        .build();
    ureq::Agent::new_with_config(ureq::Agent::config_builder().tls_config(tls).build())
}

#[test]
fn our_own_certificate_is_good_for_a_client_that_has_it() {
    let identity = identity();
    let server = start_tls(&identity, limits());
    let port = server.address().port();
    for host in ["127.0.0.1", "localhost"] {
        let mut answer = agent(&identity)
            .post(format!("https://{host}:{port}/echo"))
            .send(&vec![b'x'; 300_000][..])
            .unwrap();
        assert_eq!(answer.body_mut().read_to_vec().unwrap().len(), 300_000);
    }
}

#[test]
fn a_client_that_trusts_another_certificate_is_told_nothing() {
    let server = start_tls(&identity(), limits());
    let url = format!("https://{}/echo", server.address());
    assert!(agent(&identity()).get(url).call().is_err());
    server.await_seen(&Seen::Refused(Refusal::Handshake));
}

#[test]
fn plain_http_to_a_server_with_tls_gets_nowhere() {
    let server = start_tls(&identity(), limits());
    let answer = talk(&server, "GET /panic HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    server.await_seen(&Seen::Refused(Refusal::Handshake));
    assert!(!server.seen().contains(&Seen::Panicked));
}

#[test]
fn a_handshake_that_does_not_come_is_cut_off() {
    let server = start_tls(
        &identity(),
        Limits {
            head_time: std::time::Duration::from_millis(40),
            ..limits()
        },
    );
    let mut silent = server.connect();
    assert_eq!(read_all(&mut silent), "");
    server.await_seen(&Seen::Refused(Refusal::Handshake));
}

#[test]
fn plain_http_is_for_loopback_only() {
    for address in [
        "0.0.0.0:0",
        "[::]:0",
        "192.0.2.1:80",
        "[::ffff:192.0.2.1]:80",
    ] {
        let address: SocketAddr = address.parse().unwrap();
        let handler = Arc::new(Absent);
        let listen = Listen::Tcp(address);
        let refused = Server::bind(&listen, None, limits(), handler, Arc::new(()));
        match refused {
            Err(error @ BindError::PlainText(_)) => {
                assert!(error.to_string().contains("without TLS"), "{error}");
            }
            other => panic!("{address}: {other:?}"),
        }
    }
}

struct Absent;

impl outlast_vault::http::Handler for Absent {
    fn handle(&self, _: outlast_vault::http::Request<'_>) -> outlast_vault::http::Response {
        text(404, "")
    }
}

#[test]
fn an_address_in_use_is_an_error() {
    let server = start(limits());
    let listen = Listen::Tcp(server.address());
    let result = Server::bind(&listen, None, limits(), Arc::new(Absent), Arc::new(()));
    assert!(matches!(result, Err(BindError::Listen { .. })));
}

#[test]
fn unix_sockets_serve_and_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.sock");
    let listen = Listen::Unix(path.clone());
    // One that a process left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = start_at(&listen, None, limits());
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .write_all(b"GET /stream?3 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert_eq!(read_answer(&mut stream).1, [0, 1, 2]);
    // One that is in use, and things that are no sockets, stay.
    let again = Server::bind(&listen, None, limits(), Arc::new(Absent), Arc::new(()));
    assert!(matches!(again, Err(BindError::Listen { .. })));
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let over = Server::bind(
        &Listen::Unix(file.clone()),
        None,
        limits(),
        Arc::new(Absent),
        Arc::new(()),
    );
    assert!(matches!(over, Err(BindError::Listen { .. })));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
    drop(server);
    assert!(!path.exists());
}
