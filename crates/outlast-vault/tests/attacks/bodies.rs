//! Bodies that are not what was announced, or not what their name says.

use std::io::Write;
use std::net::Shutdown;

use outlast_object::{ObjectKind, ObjectName, hash};

use crate::raw::{connect, read_all, read_answer, talk};
use crate::served::{Served, Who, path_of};
use crate::support::pack;

fn head(served: &Served, path: &str, headers: &str) -> String {
    let header = served.header(Who::Everything).unwrap();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n{headers}\r\n")
}

fn pack_path(bytes: &[u8]) -> String {
    path_of(&ObjectName::pack(hash(bytes)))
}

#[test]
fn announcing_more_than_is_taken() {
    let served = Served::new();
    let before = served.kept();
    for (folder, length) in [
        ("data", 160 * 1024 * 1024 + 1),
        ("data", u64::MAX),
        ("data", u64::MAX / 2),
        ("index", 64 * 1024 * 1024 + 1),
        ("snapshots", 16 * 1024 * 1024 + 1),
        ("locks", 4097),
    ] {
        let path = format!("/web1/{folder}/{}", hash(b"x"));
        let head = head(&served, &path, &format!("Content-Length: {length}\r\n"));
        // Refused before anything of the body was sent.
        let mut stream = connect(served.address);
        stream.write_all(head.as_bytes()).unwrap();
        if folder == "locks" {
            stream.write_all(&[7; 4097]).unwrap();
        }
        let answer = read_answer(&mut stream, false).expect("an answer");
        // The largest of all numbers is none that the parser takes.
        let expected = if length == u64::MAX { 431 } else { 403 };
        assert_eq!(answer.status, expected, "{folder} {length}");
    }
    for path in ["presence", "objects", "seals"] {
        let path = format!("/v1/repositories/web1/{path}?snapshot={}", hash(b"x"));
        let head = head(&served, &path, "Content-Length: 99999999999\r\n");
        let mut stream = connect(served.address);
        stream.write_all(head.as_bytes()).unwrap();
        let answer = read_answer(&mut stream, false).expect("an answer");
        assert_eq!(answer.status, 413, "{path}");
    }
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn sending_less_than_announced_and_then_all_of_it() {
    let served = Served::new();
    let before = served.kept();
    let bytes = pack(6, 300_000);
    let path = pack_path(&bytes);
    for sent in [0, 1, 1000, bytes.len() - 1] {
        let head = head(
            &served,
            &path,
            &format!("Content-Length: {}\r\n", bytes.len()),
        );
        let whole = [head.as_bytes(), &bytes[..sent]].concat();
        let answers = talk(served.address, &whole);
        assert!(answers.iter().all(|answer| answer.status >= 400), "{sent}");
        let status = served.ask("HEAD", &path, Who::Restore, b"").status;
        assert_eq!(status, 404, "half an object is shown");
    }
    before.assert_same_objects(&served.kept());
    // The client connects once more and has its way.
    assert_eq!(served.ask("POST", &path, Who::Append, &bytes).status, 200);
    assert!(served.ask("GET", &path, Who::Restore, b"").body == bytes);
    served.assert_survives(&before);
}

#[test]
fn sending_more_than_announced() {
    let served = Served::new();
    let before = served.kept();
    let bytes = pack(7, 1000);
    let path = pack_path(&bytes);
    let head = head(&served, &path, "Content-Length: 999\r\n");
    let answers = talk(served.address, &[head.as_bytes(), &bytes].concat());
    assert!(answers.iter().all(|answer| answer.status >= 400));
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn sending_without_end() {
    let served = Served::new();
    let before = served.kept();
    let name = hash(b"endless");
    for path in [
        format!("/web1/snapshots/{name}"),
        format!("/web1/locks/{name}"),
        "/web1/config".to_owned(),
        "/v1/repositories/web1/objects".to_owned(),
    ] {
        let head = head(&served, &path, "Transfer-Encoding: chunked\r\n");
        let mut stream = connect(served.address);
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = [b"10000\r\n".as_slice(), &[7; 0x10000], b"\r\n"].concat();
        // The server answers and hangs up; without that this would go on.
        let mut chunks: u64 = 0;
        while stream.write_all(&chunk).is_ok() {
            chunks += 1;
            assert!(chunks < 4096, "{path} takes everything");
        }
        let answer = read_all(&mut stream);
        let status = answer.get(9..12).unwrap_or("403");
        assert!(["400", "403", "413"].contains(&status), "{path}: {answer}");
    }
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn chunks_that_are_none() {
    let served = Served::new();
    let before = served.kept();
    let bytes = pack(8, 300);
    let path = pack_path(&bytes);
    let head = head(&served, &path, "Transfer-Encoding: chunked\r\n");
    let text = [&b"12c\r\n"[..], &bytes, b"\r\n"].concat();
    for body in [
        [&text[..], b"zz\r\n"].concat(),
        [&text[..], b"-1\r\n"].concat(),
        [&text[..], b"ffffffffffffffff\r\n"].concat(),
        [&text[..], b"10000000000000000\r\n"].concat(),
        [&text[..text.len() - 2], b"0\r\n\r\n"].concat(),
        [b"12b\r\n", &bytes[..], b"\r\n0\r\n\r\n"].concat(),
        [b"12d\r\n", &bytes[..], b"\r\n0\r\n\r\n"].concat(),
        text.clone(),
        b"0\r\n\r\n".to_vec(),
        b"\r\n\r\n".to_vec(),
        [b"1;", [b'a'; 100_000].as_slice()].concat(),
    ] {
        let answers = talk(served.address, &[head.as_bytes(), &body].concat());
        let shown = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
        let all_refused = answers.iter().all(|answer| answer.status >= 400);
        assert!(all_refused, "{shown:?}");
    }
    before.assert_same_objects(&served.kept());
    // And one that is right, in the end.
    let body = [&text[..], b"0\r\n\r\n"].concat();
    let answers = talk(served.address, &[head.as_bytes(), &body].concat());
    assert_eq!(answers[0].status, 200);
    served.assert_survives(&before);
}

#[test]
fn bytes_that_are_not_what_their_name_says() {
    let served = Served::new();
    let before = served.kept();
    let mut line = served.line();
    let header = served.header(Who::Append);
    for folder in ["data", "index", "snapshots", "locks"] {
        let bytes = pack(9, 2000);
        let other = format!("/web1/{folder}/{}", hash(b"other"));
        assert_eq!(line.ask("POST", &other, header, &bytes).status, 400);
        let empty = format!("/web1/{folder}/{}", hash(b""));
        let status = line.ask("POST", &empty, header, b"").status;
        assert!(folder == "locks" || status == 403, "{folder}: {status}");
    }
    // The right hash, but no pack: its last four bytes say how long its header is.
    for bytes in [vec![0; 500], vec![255; 500], vec![1], vec![7; 70_000]] {
        let status = line.ask("POST", &pack_path(&bytes), header, &bytes).status;
        assert_eq!(status, 403, "{} bytes", bytes.len());
    }
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn batches_and_lists_that_are_none() {
    let served = Served::new();
    let before = served.kept();
    let mut line = served.line();
    let header = served.header(Who::Everything);
    let base = "/v1/repositories/web1";
    let snapshot = served.object(ObjectKind::Snapshot).0.id();
    let mut lying = b"outlastB".to_vec();
    lying.push(4);
    lying.extend_from_slice(&[7; 32]);
    lying.extend_from_slice(&u32::MAX.to_be_bytes());
    let mut key_in_it = b"outlastB".to_vec();
    for kind in [0, 1, 5, 6, 255] {
        key_in_it.push(kind);
        key_in_it.extend_from_slice(&[7; 36]);
    }
    for body in [&b""[..], b"x", b"outlastC", &lying, &key_in_it, &[0; 5000]] {
        for path in [
            format!("{base}/objects"),
            format!("{base}/seals?snapshot={snapshot}"),
            format!("{base}/presence"),
        ] {
            let status = line.ask("POST", &path, header, body).status;
            let is_empty = body.is_empty();
            assert!((400..500).contains(&status) || is_empty, "{path}: {status}");
        }
    }
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn a_body_where_none_is_wanted() {
    let served = Served::new();
    let before = served.kept();
    let mut line = served.line();
    let name = served.object(ObjectKind::Pack).0;
    for (verb, path, expected) in [
        ("GET", path_of(&name), 200),
        ("DELETE", path_of(&name), 403),
        ("GET", "/checkpoint".to_owned(), 200),
    ] {
        let header = served.header(Who::Everything);
        let answer = line.ask(verb, &path, header, b"GET /web1/ HTTP/1.1\r\n\r\n");
        assert_eq!(answer.status, expected, "{verb} {path}");
    }
    let mut stream = connect(served.address);
    stream.write_all(b"GET /checkpoint HTTP/1.1\r\n").unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}
