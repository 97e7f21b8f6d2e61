//! The memory of the HTTP server under many uploads, alone in its process so that it can be measured.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "http/support.rs"]
mod support;

use std::io::Write;

use outlast_vault::http::Limits;

use support::{Seen, limits, read_answer, start};

/// Memory in use by this process, in bytes.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

#[test]
fn a_hundred_uploads_at_once_take_little_memory() {
    const PEERS: usize = 100;
    const MEBIBYTE: usize = 1024 * 1024;
    let server = start(Limits {
        connections_of_peer: PEERS as u32,
        ..limits()
    });
    let before = memory();
    let block = vec![5; MEBIBYTE];
    let head = format!("POST /wait-size HTTP/1.1\r\nHost: x\r\nContent-Length: {MEBIBYTE}\r\n\r\n");
    let most = std::thread::scope(|scope| {
        let peers: Vec<_> = (0..PEERS)
            .map(|_| {
                let mut stream = server.connect();
                let (head, block) = (&head, &block);
                scope.spawn(move || {
                    stream.write_all(head.as_bytes()).unwrap();
                    stream.write_all(block).unwrap();
                    assert_eq!(read_answer(&mut stream).1, b"1048576 of Some(1048576)");
                })
            })
            .collect();
        let mut most = memory();
        for _ in 0..PEERS {
            server.await_seen(&Seen::Waits);
            most = most.max(memory());
            server.go_on.send(()).unwrap();
        }
        for peer in peers {
            peer.join().unwrap();
            most = most.max(memory());
        }
        most
    });
    let grown = most.saturating_sub(before);
    println!("memory grew by {} KiB", grown / 1024);
    // All bodies together are 100 MiB.
    assert!(grown < 50 * MEBIBYTE as u64, "{grown} bytes");
}
