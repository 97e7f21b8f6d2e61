//! Stopping without breaking what has begun.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use outlast_vault::http::Limits;

use crate::support::{Seen, limits, read_all, read_answer, start};

#[test]
fn a_request_that_has_begun_is_answered() {
    let mut server = start(Limits {
        stop_time: Duration::from_secs(30),
        ..limits()
    });
    let mut idle = server.connect();
    idle.write_all(b"GET /stream?3 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    read_answer(&mut idle);
    let mut busy = server.connect();
    busy.write_all(b"POST /wait-size HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        .unwrap();
    server.await_seen(&Seen::Waits);
    server.stop.stop();
    assert_eq!(
        read_all(&mut idle),
        "",
        "idle connections are closed at once"
    );
    server.go_on.send(()).unwrap();
    busy.write_all(b"def").unwrap();
    let answer = read_all(&mut busy);
    assert!(answer.ends_with("6 of Some(6)"), "{answer}");
    let address = server.address();
    server.join();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn those_who_do_not_finish_are_cut_off() {
    let mut server = start(limits());
    let mut stream = server.connect();
    stream
        .write_all(b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        .unwrap();
    server.await_seen(&Seen::Accepted);
    server.stop.stop();
    server.join();
    assert_eq!(read_all(&mut stream), "");
    let seen = server.seen();
    assert!(seen.contains(&Seen::Ended), "{seen:?}");
}
