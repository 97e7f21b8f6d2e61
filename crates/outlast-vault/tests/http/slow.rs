//! Peers that take their time, and peers that go away.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use outlast_vault::http::{Limits, Pace, Refusal};

use crate::support::{Seen, limits, read_all, read_answer, start};

const SOON: Duration = Duration::from_millis(40);

fn impatient() -> Limits {
    Limits {
        pace: Pace {
            grace: SOON,
            bytes_per_second: u64::MAX,
            stall: SOON,
        },
        ..limits()
    }
}

#[test]
fn heads_that_trickle_are_cut_off() {
    let server = start(Limits {
        head_time: SOON,
        ..limits()
    });
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
    // However often something comes, the time for the whole head is what counts.
    while stream.write_all(b"a: b\r\n").is_ok() && server.seen().len() < 2 {
        let mut byte = [0];
        stream
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        if stream.read(&mut byte).is_ok() {
            break;
        }
    }
    let mut silent = server.connect();
    assert_eq!(read_all(&mut silent), "");
    server.await_seen(&Seen::Refused(Refusal::HeadSlow));
}

#[test]
fn idle_connections_are_closed() {
    let server = start(Limits {
        idle_time: SOON,
        ..limits()
    });
    let mut stream = server.connect();
    stream
        .write_all(b"GET /stream?3 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert_eq!(read_answer(&mut stream).1, [0, 1, 2]);
    assert_eq!(read_all(&mut stream), "");
    server.await_seen(&Seen::Refused(Refusal::Idle));
    server.await_seen(&Seen::Ended);
}

#[test]
fn the_head_of_a_second_request_must_come_in_time_too() {
    let server = start(Limits {
        head_time: SOON,
        ..limits()
    });
    let mut stream = server.connect();
    stream
        .write_all(b"GET /stream?3 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    read_answer(&mut stream);
    stream.write_all(b"GET").unwrap();
    assert_eq!(read_all(&mut stream), "");
    server.await_seen(&Seen::Refused(Refusal::HeadSlow));
}

#[test]
fn bodies_that_stall_are_errors_of_the_reader() {
    let server = start(impatient());
    let mut stream = server.connect();
    stream
        .write_all(b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        .unwrap();
    let answer = read_all(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    server.await_seen(&Seen::BodyFailed(ErrorKind::TimedOut, 3));
    server.await_seen(&Seen::Refused(Refusal::UploadSlow));
}

#[test]
fn a_handler_that_takes_its_time_is_not_the_fault_of_the_peer() {
    let server = start(impatient());
    let mut stream = server.connect();
    let head = "POST /wait-size HTTP/1.1\r\nHost: x\r\nContent-Length: 600000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![1; 600_000]).unwrap();
    server.await_seen(&Seen::Waits);
    // All of it waits at the server for longer than a peer may take.
    stream.set_read_timeout(Some(3 * SOON)).unwrap();
    assert!(stream.read(&mut [0]).is_err());
    stream.set_read_timeout(None).unwrap();
    server.go_on.send(()).unwrap();
    assert_eq!(read_answer(&mut stream).1, b"600000 of Some(600000)");
}

#[test]
fn answers_that_nobody_takes_are_cut_off() {
    let server = start(impatient());
    let mut stream = server.connect();
    let head = "GET /stream?1000000000 HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    server.await_seen(&Seen::Refused(Refusal::DownloadSlow));
    server.await_seen(&Seen::Ended);
    assert!(read_all(&mut stream).len() < 100_000_000);
}

#[test]
fn an_upload_that_breaks_off_is_an_error_of_the_reader() {
    let server = start(limits());
    for head in [
        "Content-Length: 9\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let mut stream = server.connect();
        write!(stream, "POST /size HTTP/1.1\r\nHost: x\r\n{head}").unwrap();
        drop(stream);
        server.await_seen(&Seen::BodyFailed(ErrorKind::UnexpectedEof, 3));
        server.await_seen(&Seen::Ended);
    }
}

#[test]
fn a_broken_chunk_is_an_error_of_the_reader() {
    let server = start(limits());
    let mut stream = server.connect();
    let head = "POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    write!(stream, "{head}3\r\nabc\r\nnonsense\r\n").unwrap();
    server.await_seen(&Seen::BodyFailed(ErrorKind::UnexpectedEof, 3));
}

#[test]
fn a_download_that_breaks_off_frees_its_thread() {
    let server = start(Limits {
        threads: 1,
        ..limits()
    });
    for _ in 0..3 {
        let mut stream = server.connect();
        let head = "GET /stream?1000000000 HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
    }
    let mut answer = ureq::post(server.url("/echo")).send("next").unwrap();
    assert_eq!(answer.body_mut().read_to_string().unwrap(), "next");
}
