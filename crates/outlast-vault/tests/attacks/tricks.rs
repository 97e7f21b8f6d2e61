//! Paths and heads that mean one thing to one reader and another to the next.

use outlast_object::ObjectKind;

use crate::raw::{request, talk};
use crate::served::{Served, Who};
use crate::support::pack;

/// Paths that must lead nowhere.
fn crooked(id: &str) -> Vec<String> {
    let upper = id.to_uppercase();
    let long = "a".repeat(300);
    let deep = "/a".repeat(40);
    let start = &id[..63];
    [
        "//web1/config",
        "/web1//config",
        "/./web1/config",
        "/web1/./config",
        "/web1/../web1/config",
        "/../web1/config",
        "/../../etc/passwd",
        "/web1/../web2/config",
        "/web1/%2e%2e/web2/config",
        "/web1/%2E%2e/%2e./ledger",
        "/web1/..%2fweb2/config",
        "/web1%2fconfig",
        "/web1/%5c..%5cconfig",
        "/web1/..\\config",
        "/web1/config%00",
        "/web1/config%00.txt",
        "/web1/config%0d%0aX-Header:%201",
        "/web1/config%20",
        "/web1/config.",
        "/web1/config%2f",
        "/web1/CONFIG",
        "/Web1/config",
        "/web1;a=b/config",
        "/web1/config;a=b",
        "/web1/%",
        "/web1/%2",
        "/web1/%zz",
        "/web1/%u0063onfig",
        "/web1/%c0%af",
        "/web1/%ff%fe",
        "/web1/conf%EF%BD%89g",
        "/web1/%e2%80%ae/config",
        "/web1/~/config",
        "/web1/keys/../config",
        "/as-of/1/../web1/config",
        "/as-of//web1/config",
        "/as-of/web1/config",
        "/as-of/-1/web1/config",
        "/as-of/+1x/web1/config",
        "/as-of/0x10/web1/config",
        "/as-of/1e5/web1/config",
        "/as-of/ /web1/config",
        "/as-of/18446744073709551616/web1/config",
        "/as-of/340282366920938463463374607431768211456/web1/config",
        "/as-of/2026-13-01/web1/config",
        "/as-of/2026-02-30/web1/config",
        "/as-of/1969-12-31/web1/config",
        "/as-of/99999-01-01/web1/config",
        "/as-of/9999-99-99T99:99:99Z/web1/config",
        "/as-of/1/as-of/1/web1/config",
        "/v1/../web1/config",
        "/v1/repositories/web1/../web2",
        "/v1/repositories/web1/seals/-1",
        "/v1/repositories/web1/seals/18446744073709551616",
        "/v1/repositories/web1/seals?limit=-1",
        "/v1/repositories/web1/seals?limit=99999999999999999999999",
        "/v1/repositories/web1/seals?snapshot=../..",
        "/v1/repositories/web1/objects/data?after=%2e%2e",
        "/v1/log/../tile/0/000",
        "/tile/0/../../ledger/journal/0000000000000000",
        "/tile/entries/..%2f..%2fledger",
        "/tile/0/x999/999",
        "/tile/0/000.p/0",
        "/tile/0/000.p/257",
        "/tile/64/000",
        "/tile/255/000",
        "/tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        format!("/web1/data/{upper}"),
        format!("/web1/data/{start}"),
        format!("/web1/data/{id}0"),
        format!("/web1/data/{}/{id}", &id[..2]),
        format!("/web1/data/{id}."),
        format!("/web1/data/{id}%00"),
        format!("/web1/data/{id}/"),
        format!("/web1/data/{id}/.."),
        format!("/web1/locks/..%2fdata%2f{id}"),
        format!("/web1/locks/../data/{id}"),
        format!("/web1/data/0x{}", &id[2..]),
        format!("/web1/data/+{start}"),
        format!("/web1/data/{start}%c4%b1"),
        format!("/{long}/config"),
        format!("/web1/{long}"),
        deep,
    ])
    .collect()
}

#[test]
fn paths_that_try_to_lead_elsewhere() {
    let served = Served::new();
    let before = served.kept();
    let pack_name = served.object(ObjectKind::Pack).0;
    let id = pack_name.id().to_hex();
    let mut line = served.line();
    let mut wrong = Vec::new();
    for path in crooked(&id) {
        for who in [Who::Nobody, Who::Append, Who::Everything] {
            for verb in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
                let body: &[u8] = if verb.starts_with('P') { b"x" } else { b"" };
                let answer = line.ask(verb, &path, served.header(who), body);
                // A trailing slash of an object is the one thing that is passed over.
                let may_pass = path.ends_with(&format!("{id}/"))
                    && match verb {
                        "GET" => who == Who::Everything,
                        "HEAD" => who != Who::Nobody,
                        _ => false,
                    };
                if !(400..500).contains(&answer.status) && !may_pass {
                    wrong.push(format!("{verb} {path} by {who:?}: {}", answer.status));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn other_spellings_of_a_path_mean_the_same_or_nothing() {
    let served = Served::new();
    let before = served.kept();
    let (name, bytes) = served.object(ObjectKind::Pack);
    let id = name.id().to_hex();
    let header = served.header(Who::Restore).unwrap();
    for target in [
        format!("/%77eb1/data/{id}"),
        format!("/web1/%64ata/{id}"),
        format!("/web1/data/{id}?x=1&y=%2e%2e"),
        format!("http://vault/web1/data/{id}"),
        format!("http://elsewhere.example/web1/data/{id}"),
        format!("/as-of/18446744073709551615/web1/data/{id}"),
        format!("/as-of/9999-12-29T23:59:59Z/web1/data/{id}"),
        format!("/as-of/9999-12-30/web1/data/{id}"),
    ] {
        let answer = served.line().ask("GET", &target, Some(header), b"");
        assert_eq!(answer.status, 200, "{target}");
        assert!(answer.body == bytes, "{target} leads to other bytes");
        let answer = served.line().ask("DELETE", &target, Some(header), b"");
        assert_eq!(answer.status, 403, "{target}");
    }
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

/// What must never happen: that the hidden second request is answered as one of its own, after
/// something in front of the vault had taken it for a body.
#[test]
fn smuggling_a_request_inside_another() {
    let served = Served::new();
    let before = served.kept();
    let header = served.header(Who::Everything).unwrap();
    let bytes = pack(5, 700);
    let inner = request(
        "POST",
        &format!("/web1/data/{}", outlast_object::hash(&bytes)),
        Some(header),
        &bytes,
    );
    let outer = |headers: &str| {
        format!("POST /web1/data/x HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n{headers}\r\n")
    };
    let length = inner.len();
    let mut wrong = Vec::new();
    for headers in [
        // Either of the two could be believed.
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: 0, {length}\r\n"),
        format!("Content-Length: +{length}\r\n"),
        "Content-Length: 0x10\r\n".to_owned(),
        "Content-Length: 18446744073709551616\r\n".to_owned(),
        "Content-Length: 1\u{b}\r\n".to_owned(),
        "Content-Length : 1\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Transfer-Encoding:\u{b}chunked\r\n".to_owned(),
        "X: y\r\n Transfer-Encoding: chunked\r\n".to_owned(),
        "X: y\r\n\tContent-Length: 5\r\n".to_owned(),
        "X: y\nTransfer-Encoding: chunked\r\n\r\nz".to_owned(),
    ] {
        let chunked_end = b"0\r\n\r\n";
        for start in [&b""[..], chunked_end] {
            let bytes = [outer(&headers).as_bytes(), start, &inner].concat();
            let answers = talk(served.address, &bytes);
            if answers.iter().any(|answer| answer.status == 200) {
                wrong.push(format!("{headers:?} then {start:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn heads_that_are_none() {
    let served = Served::new();
    let before = served.kept();
    let header = served.header(Who::Everything).unwrap();
    for bytes in [
        "DELETE /web1/config\r\n\r\n".to_owned(),
        "DELETE  /web1/config HTTP/1.1\r\n\r\n".to_owned(),
        "GET /web1/config HTTP/2.0\r\n\r\n".to_owned(),
        "GET /web1/config HTTP/1.1 x\r\n\r\n".to_owned(),
        "GET\t/web1/config\tHTTP/1.1\r\n\r\n".to_owned(),
        "GET web1/config HTTP/1.1\r\n\r\n".to_owned(),
        "GET * HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "\0\0\0\0\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("GET /web1/config HTTP/1.1\r\nAuthorization: {header}\0\r\n\r\n"),
        format!("GET /web1/config HTTP/1.1\r\nAuthorization:\r\n {header}\r\n\r\n"),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)),
        format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(100_000)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(5_000)),
    ] {
        for answer in talk(served.address, bytes.as_bytes()) {
            let shown: String = bytes.chars().take(60).collect();
            let status = answer.status;
            assert!((400..=501).contains(&status), "{shown:?}: {status}");
        }
    }
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}
