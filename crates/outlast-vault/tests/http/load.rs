//! More of everything than there is room for.

use std::io::Write;

use outlast_vault::http::{Limits, Refusal};

use crate::support::{Seen, limits, read_all, read_answer, start};

const WAIT: &[u8] = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn connections_are_bounded() {
    let server = start(Limits {
        connections: 2,
        ..limits()
    });
    let first = server.connect();
    let second = server.connect();
    server.await_seen(&Seen::Accepted);
    server.await_seen(&Seen::Accepted);
    assert_eq!(read_all(&mut server.connect()), "");
    server.await_seen(&Seen::Refused(Refusal::Connections));
    drop(first);
    server.await_seen(&Seen::Ended);
    let mut third = server.connect();
    third
        .write_all(b"GET /stream?2 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert_eq!(read_answer(&mut third).1, [0, 1]);
    drop(second);
}

#[test]
fn connections_of_a_peer_are_bounded() {
    let server = start(Limits {
        connections_of_peer: 1,
        ..limits()
    });
    let first = server.connect();
    server.await_seen(&Seen::Accepted);
    assert_eq!(read_all(&mut server.connect()), "");
    server.await_seen(&Seen::Refused(Refusal::ConnectionsOfPeer));
    drop(first);
    server.await_seen(&Seen::Ended);
    let _second = server.connect();
    server.await_seen(&Seen::Accepted);
}

#[test]
fn requests_that_find_no_thread_and_no_room_to_wait_are_told_so() {
    let server = start(Limits {
        threads: 1,
        waiting: 1,
        ..limits()
    });
    let mut working = server.connect();
    working.write_all(WAIT).unwrap();
    server.await_seen(&Seen::Waits);
    // Of these two, one waits and one is refused.
    let mut others = [server.connect(), server.connect()];
    for other in &mut others {
        other.write_all(WAIT).unwrap();
    }
    server.await_seen(&Seen::Refused(Refusal::Busy));
    server.go_on.send(()).unwrap();
    server.go_on.send(()).unwrap();
    assert_eq!(read_answer(&mut working).1, b"waited");
    let mut answers: Vec<String> = others
        .iter_mut()
        .map(|other| read_answer(other).0)
        .collect();
    answers.sort();
    assert!(answers[0].starts_with("http/1.1 200 "), "{answers:?}");
    assert!(answers[1].starts_with("http/1.1 503 "), "{answers:?}");
    assert!(answers[1].contains("retry-after: "), "{answers:?}");
}
