//! Requests as they should be, and some as they should not.

use std::io::{Read, Write};
use std::time::Duration;

use outlast_vault::http::{Limits, Refusal};

use crate::support::{Seen, limits, read_all, read_answer, start, talk};

#[test]
fn a_client_library_gets_what_it_asks_for() {
    let server = start(limits());
    let mut answer = ureq::post(server.url("/echo")).send("hello").unwrap();
    assert_eq!(answer.body_mut().read_to_string().unwrap(), "hello");
    let answer = ureq::get(server.url("/absent")).call();
    assert!(matches!(answer, Err(ureq::Error::StatusCode(404))));
}

#[test]
fn handlers_see_the_request_as_sent() {
    let server = start(limits());
    let answer = talk(
        &server,
        "GET /head?a=%20b HTTP/1.1\r\nHost: x\r\nX-Word: One\r\nX-Raw: \u{e4}\r\n\r\n",
    );
    let expected = "GET /head a=%20b [(\"host\", \"x\"), (\"x-word\", \"One\")]";
    assert!(answer.ends_with(expected), "{answer}");
    let answer = talk(&server, "GET /head/%2e%2e/x HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[test]
fn connections_are_kept_and_requests_may_be_pipelined() {
    let server = start(limits());
    let mut stream = server.connect();
    let one = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n";
    for word in ["one", "two"] {
        write!(stream, "{one}{word}").unwrap();
        assert_eq!(read_answer(&mut stream).1, word.as_bytes());
    }
    write!(stream, "{one}abc{one}def{one}ghi").unwrap();
    for word in ["abc", "def", "ghi"] {
        assert_eq!(read_answer(&mut stream).1, word.as_bytes());
    }
    server.await_seen(&Seen::Accepted);
    assert_eq!(server.seen(), []);
}

#[test]
fn head_has_a_length_and_no_body() {
    let server = start(limits());
    let mut stream = server.connect();
    for (path, length) in [("/stream?100000", 100_000), ("/absent", 12)] {
        write!(stream, "HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let expected = format!("content-length: {length}\r\n");
        assert!(head.contains(&expected), "{head}");
    }
    // A body would stand before this.
    write!(
        stream,
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"
    )
    .unwrap();
    assert_eq!(read_answer(&mut stream).1, b"ok");
}

#[test]
fn an_answer_without_content_has_none() {
    let server = start(limits());
    let answer = talk(&server, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(
        !answer.to_lowercase().contains("content-length"),
        "{answer}"
    );
}

#[test]
fn ranges_of_streams_are_exact() {
    let server = start(limits());
    let mut stream = server.connect();
    let total = 300_000_u64;
    for (range, status, from, length) in [
        ("0-0", 206, 0, 1),
        ("65530-131080", 206, 65_530, 65_551),
        ("299999-", 206, 299_999, 1),
        ("-5", 206, 299_995, 5),
        ("300000-", 416, 0, 0),
        ("1-2,3-4", 200, 0, 300_000),
    ] {
        write!(
            stream,
            "GET /stream?{total} HTTP/1.1\r\nHost: x\r\nRange: bytes={range}\r\n\r\n"
        )
        .unwrap();
        let (head, body) = read_answer(&mut stream);
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        let expected: Vec<u8> = (from..from + length).map(|byte| byte as u8).collect();
        assert!(body == expected, "{range}");
    }
}

#[test]
fn a_chunked_body_has_no_declared_length() {
    let server = start(limits());
    let mut stream = server.connect();
    let head = "POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    write!(
        stream,
        "{head}3\r\nabc\r\n2\r\nde\r\n0\r\nx-trailer: 1\r\n\r\n"
    )
    .unwrap();
    assert_eq!(read_answer(&mut stream).1, b"5 of None");
    write!(stream, "POST /size HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).1, b"0 of Some(0)");
}

#[test]
fn bodies_are_asked_for_only_when_they_are_wanted() {
    let server = start(limits());
    let head = "Host: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut stream = server.connect();
    write!(stream, "POST /echo HTTP/1.1\r\n{head}").unwrap();
    assert!(read_answer(&mut stream).0.starts_with("http/1.1 100 "));
    stream.write_all(b"hello").unwrap();
    assert_eq!(read_answer(&mut stream).1, b"hello");

    let mut stream = server.connect();
    write!(stream, "POST /early HTTP/1.1\r\n{head}").unwrap();
    let (head, body) = read_answer(&mut stream);
    assert!(head.starts_with("http/1.1 409 "), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(body, b"no");
}

#[test]
fn a_small_body_that_nobody_read_is_drained() {
    let server = start(limits());
    let mut stream = server.connect();
    let body = "x".repeat(600_000);
    for _ in 0..3 {
        let length = body.len();
        write!(
            stream,
            "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let (head, body) = read_answer(&mut stream);
        assert!(head.starts_with("http/1.1 409 "), "{head}");
        assert_eq!(body, b"no");
    }
}

#[test]
fn a_large_body_that_nobody_read_closes_the_connection_after_the_answer() {
    let server = start(limits());
    let mut stream = server.connect();
    let head = "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b'x'; 3_000_000]).unwrap();
    let answer = read_all(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.ends_with("no"), "{answer}");
    drop(stream);
    server.await_seen(&Seen::Ended);
}

#[test]
fn panics_and_nonsense_of_handlers_are_500_and_the_server_goes_on() {
    let server = start(limits());
    let mut stream = server.connect();
    for path in ["/panic", "/nonsense", "/split"] {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let (head, body) = read_answer(&mut stream);
        assert!(head.starts_with("http/1.1 500 "), "{head}");
        assert!(!head.contains("x-other"), "{head}");
        assert_eq!(body, b"");
    }
    server.await_seen(&Seen::Panicked);
    write!(stream, "GET /stream?4 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).1, [0, 1, 2, 3]);
}

#[test]
fn an_answer_that_ends_early_is_not_taken_for_complete() {
    let server = start(limits());
    for (path, seen) in [("/short", Seen::CutOff), ("/explode", Seen::Panicked)] {
        let answer = talk(&server, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        if let Some((head, body)) = answer.split_once("\r\n\r\n") {
            assert!(head.contains("content-length: 2000"), "{head}");
            assert!(body.len() <= 1000);
        }
        server.await_seen(&seen);
        let result = ureq::get(server.url(path)).call();
        assert!(
            result
                .and_then(|mut answer| answer.body_mut().read_to_vec())
                .is_err()
        );
        server.await_seen(&seen);
    }
}

#[test]
fn a_peer_that_has_said_all_still_gets_its_answer() {
    let server = start(limits());
    let answer = talk(
        &server,
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nhalf",
    );
    assert!(answer.ends_with("half"), "{answer}");
}

#[test]
fn heads_are_bounded() {
    let server = start(Limits {
        head_bytes: 2000,
        headers: 8,
        linger_time: Duration::from_millis(40),
        ..limits()
    });
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "a".repeat(2000)
    );
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(9));
    let endless = format!("GET /{}", "a".repeat(200_000));
    for request in [long, many, endless] {
        let mut stream = server.connect();
        // The server may close before it has read everything.
        let _ = stream.write_all(request.as_bytes());
        let answer = read_all(&mut stream);
        let status = answer.get(..12).unwrap_or_default();
        assert!(
            ["HTTP/1.1 431", "HTTP/1.1 414"].contains(&status),
            "{answer}"
        );
        server.await_seen(&Seen::Refused(Refusal::Malformed));
    }
}

#[test]
fn nonsense_is_refused() {
    let server = start(limits());
    for request in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    ] {
        let answer = talk(&server, request);
        let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 400 ");
        assert!(is_refused, "{request:?}: {answer}");
        server.await_seen(&Seen::Refused(Refusal::Malformed));
    }
    for (request, status) in [
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("AMETHODOFSIXTEENANDMORE / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    ] {
        let answer = talk(&server, request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

#[test]
fn a_body_cannot_be_two_things() {
    let server = start(limits());
    // With both, the length must not decide: what follows would be taken for a request.
    let answer = talk(
        &server,
        "POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /panic HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    let refused = answer.starts_with("HTTP/1.1 400 ");
    assert!(refused || answer.contains("0 of None"), "{answer}");
}
