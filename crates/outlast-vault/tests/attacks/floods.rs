//! Too much, too slow, too often: others are served meanwhile, and nothing held is touched.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outlast_object::{ObjectKind, hash};
use outlast_vault::http::{Limits, Pace};

use crate::raw::{connect, read_all, read_answer};
use crate::served::{Served, Who, path_of, wide};
use crate::support::{pack, settings};

/// Limits that are reached at once.
fn hasty() -> Limits {
    let moment = Duration::from_millis(150);
    Limits {
        head_time: moment,
        idle_time: moment,
        pace: Pace {
            grace: moment,
            bytes_per_second: 1024 * 1024,
            stall: moment,
        },
        linger_time: moment,
        ..wide()
    }
}

#[test]
fn holding_connections_with_slow_heads_and_bodies() {
    let served = Served::with(settings(), hasty());
    let before = served.kept();
    let header = served.header(Who::Append).unwrap();
    let path = format!("/web1/data/{}", hash(b"slow"));
    let post = format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n");
    let beginnings = [
        String::new(),
        "G".to_owned(),
        "GET / HTTP/1.1\r\nX-A: b\r\n".to_owned(),
        format!("{post}Content-Length: 100000\r\n\r\nhalf"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n5\r\nab"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n"),
    ];
    let mut held = Vec::new();
    for beginning in &beginnings {
        for _ in 0..10 {
            let mut stream = connect(served.address);
            stream.write_all(beginning.as_bytes()).unwrap();
            held.push(stream);
        }
    }
    // Somebody honest is served in between.
    let name = served.object(ObjectKind::Pack).0;
    assert_eq!(
        served.ask("GET", &path_of(&name), Who::Restore, b"").status,
        200
    );
    // And every one of them is dropped, without having sent another byte.
    for mut stream in held {
        let answer = read_all(&mut stream);
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn taking_an_answer_slowly() {
    let served = Served::with(settings(), hasty());
    let caller = crate::served::caller_of(
        &served.vault,
        &crate::support::repository(),
        &[outlast_custody::Scope::Append],
    );
    // More than the buffers of two sockets take.
    let large = pack(1, 40 * 1024 * 1024);
    crate::support::put(&served.vault, &caller, &large, ObjectKind::Pack).unwrap();
    let before = served.kept();
    let header = served.header(Who::Restore).unwrap();
    let path = format!("/web1/data/{}", hash(&large));
    let get = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(served.address);
        stream.write_all(get.as_bytes()).unwrap();
        held.push(stream);
    }
    let refusals = served.counts.refusals.load(Ordering::SeqCst);
    // Waits without reading until the server has given up on all of them.
    while served.counts.refusals.load(Ordering::SeqCst) < refusals + 8 {
        std::thread::yield_now();
    }
    drop(held);
    served.assert_survives(&before);
}

#[test]
fn opening_too_many_connections() {
    let limits = Limits {
        connections_of_peer: 8,
        ..wide()
    };
    let served = Served::with(settings(), limits);
    let before = served.kept();
    let mut held: Vec<_> = (0..8).map(|_| connect(served.address)).collect();
    // One request on each, so that all have arrived.
    for stream in &mut held {
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        assert_eq!(read_answer(stream, false).unwrap().status, 200);
    }
    for _ in 0..20 {
        assert_eq!(read_all(&mut connect(served.address)), "");
    }
    // Those that were there first are served still.
    for stream in &mut held {
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        assert_eq!(read_answer(stream, false).unwrap().status, 200);
    }
    drop(held);
    // The server notices in its own time that they have gone.
    while served.counts.refusals.load(Ordering::SeqCst) < 20 {
        std::thread::yield_now();
    }
    loop {
        let mut stream = connect(served.address);
        if stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            .is_ok()
            && read_answer(&mut stream, false).is_some()
        {
            break;
        }
    }
    served.assert_survives(&before);
}

#[test]
fn flooding_with_headers_while_others_work() {
    let served = Served::new();
    let before = served.kept();
    let flood = format!("GET /{} HTTP/1.1\r\n", "x".repeat(1_000_000));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let mut stream = connect(served.address);
                    let _ = stream.write_all(flood.as_bytes());
                    let answer = read_all(&mut stream);
                    assert!(answer.is_empty() || answer.contains(" 4"), "{answer}");
                }
            });
        }
        let mut line = served.line();
        for seed in 0..20 {
            let bytes = pack(500 + seed, 5000);
            let path = format!("/web1/data/{}", hash(&bytes));
            let header = served.header(Who::Append);
            assert_eq!(line.ask("POST", &path, header, &bytes).status, 200);
        }
    });
    served.assert_survives(&before);
}

#[test]
fn filling_the_quota_of_one_repository() {
    let mut small = settings();
    small.quota_bytes = 100_000;
    let served = Served::with(small, wide());
    let before = served.kept();
    let mut line = served.line();
    let header = served.header(Who::Append);
    let mut put = |repository: &str, header: Option<&str>, seed, bytes| {
        let bytes = pack(seed, bytes);
        let path = format!("/{repository}/data/{}", hash(&bytes));
        line.ask("POST", &path, header, &bytes).status
    };
    let mut taken = 0;
    while put("web1", header, 1000 + taken, 9_000) == 200 {
        taken += 1;
        assert!(taken < 20, "there is no quota");
    }
    assert!(taken >= 9);
    assert_eq!(put("web1", header, 2000, 9_000), 507);
    // Announcing much and sending nothing sets room aside only as long as it lasts.
    let lying = header.unwrap();
    let path = format!("/web1/data/{}", hash(b"much"));
    for _ in 0..5 {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {lying}\r\nContent-Length: 5000\r\n\r\n"
        );
        crate::raw::talk(served.address, head.as_bytes());
    }
    // What there is room for still goes in, and the neighbour has all of its own.
    assert_eq!(put("web1", header, 3000, 500), 200);
    let other = served.header(Who::Other);
    for seed in 0..9 {
        assert_eq!(put("web2", other, 4000 + seed, 9_000), 200);
    }
    // What is kept is kept: the same bytes again are no new ones.
    assert_eq!(put("web1", header, 1000, 9_000), 200);
    served.assert_survives(&before);
}
