//! Every verb, on every path, by everybody.

use outlast_object::ObjectKind;

use crate::paths::table;
use crate::served::{Served, Who, path_of};
use crate::support::pack;

const VERBS: [&str; 17] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "MOVE", "COPY",
    "PROPFIND", "MKCOL", "PURGE", "UNLINK", "delete", "get",
];

#[test]
fn every_verb_on_every_path_with_every_scope() {
    let served = Served::new();
    let before = served.kept();
    let mut line = served.line();
    let mut wrong = Vec::new();
    for row in table(&served) {
        for verb in VERBS {
            for who in Who::ALL {
                let carries = matches!(verb, "POST" | "PUT" | "PATCH");
                let body: &[u8] = if carries { &row.body } else { b"" };
                let status = line.ask(verb, &row.path, served.header(who), body).status;
                let allowed = row
                    .allowed
                    .iter()
                    .find(|(allowed, whom, _)| *allowed == verb && whom.contains(&who));
                let is_right = match allowed {
                    Some((_, _, expected)) => status == *expected,
                    None if status == 401 => who == Who::Nobody || Who::FALSE.contains(&who),
                    None => (400..500).contains(&status) || status == 501,
                };
                if !is_right {
                    wrong.push(format!("{verb} {} by {who:?}: {status}", row.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let after = served.kept();
    // The new pack and the pack of the batch, and nothing else.
    assert_eq!(after.objects(), before.objects() + 2);
    served.assert_survives(&before);
}

#[test]
fn deleting_every_object_with_every_token() {
    let served = Served::new();
    let before = served.kept();
    let mut line = served.line();
    for who in Who::ALL {
        for name in served.objects.keys() {
            let answer = line.ask("DELETE", &path_of(name), served.header(who), b"");
            let expected = if who == Who::Nobody || Who::FALSE.contains(&who) {
                401
            } else {
                403
            };
            assert_eq!(answer.status, expected, "{name} by {who:?}");
        }
        for folder in ["", "data/", "keys/", "snapshots/", "index/", "locks/"] {
            let path = format!("/web1/{folder}");
            let answer = line.ask("DELETE", &path, served.header(who), b"");
            assert!([401, 403].contains(&answer.status), "{path} by {who:?}");
        }
    }
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn overwriting_every_object_with_every_token() {
    let served = Served::new();
    let before = served.kept();
    let mut line = served.line();
    for who in Who::ALL {
        for name in served.objects.keys() {
            // Of the same length, shorter, longer, none, and what would be right for another kind.
            for bytes in [vec![9; 155], vec![9; 10], pack(9, 5000), vec![]] {
                for verb in ["POST", "PUT", "PATCH"] {
                    let answer = line.ask(verb, &path_of(name), served.header(who), &bytes);
                    let status = answer.status;
                    assert!(
                        (400..500).contains(&status),
                        "{verb} {name} by {who:?}: {status}"
                    );
                }
            }
        }
    }
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn asking_for_another_method_in_a_header() {
    let served = Served::new();
    let before = served.kept();
    let name = served.object(ObjectKind::Pack).0;
    let header = served.header(Who::Everything).unwrap();
    for trick in [
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
        "X-Method-Override: DELETE",
        "X-Original-URL: /web1/config",
        "X-Rewrite-URL: /web1/config",
        "Destination: /web1/config",
        "Overwrite: T",
        "If-Match: *",
        "Content-Range: bytes 0-1/2",
    ] {
        for verb in ["GET", "POST"] {
            let path = path_of(&name);
            let request = format!(
                "{verb} {path}?_method=DELETE HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n\
                 {trick}\r\nContent-Length: 1\r\n\r\nx"
            );
            let answer = served.line().send(request.as_bytes(), false);
            let expected = if verb == "GET" { 200 } else { 403 };
            assert_eq!(answer.status, expected, "{trick}");
        }
    }
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn reading_and_writing_what_belongs_to_others() {
    let served = Served::new();
    let before = served.kept();
    let mut line = served.line();
    for who in [
        Who::Append,
        Who::Enrol,
        Who::Restore,
        Who::Pull,
        Who::Everything,
    ] {
        for path in [
            "/web2/config",
            "/web2/keys/",
            "/web2/data/",
            "/as-of/9999/web2/config",
            "/v1/repositories/web2",
            "/v1/repositories/web2/seals",
            "/web1%2fweb2/config",
            "/WEB1/config",
        ] {
            for verb in ["GET", "HEAD", "POST", "DELETE"] {
                let status = line.ask(verb, path, served.header(who), b"").status;
                assert!((400..500).contains(&status), "{verb} {path}: {status}");
            }
        }
    }
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}

#[test]
fn guessing_secrets() {
    let served = Served::new();
    let before = served.kept();
    let header = served.header(Who::Everything).unwrap();
    let mut line = served.line();
    // One character less, one more, another case, two headers, another scheme.
    let mut guesses: Vec<String> = vec![
        header[..header.len() - 1].to_owned(),
        format!("{header}A"),
        header.to_uppercase(),
        format!("{header}\r\nAuthorization: {header}"),
        header.replace("Basic", "Bearer"),
        header.replace("Basic", "Digest"),
        "Basic".to_owned(),
        "Basic =".to_owned(),
        format!("Basic {}", "A".repeat(2000)),
    ];
    guesses.extend(
        (0..200).map(|number| crate::served::basic("0123456789abcdef", &number.to_string())),
    );
    for guess in guesses {
        for path in ["/web1/config", "/v1/repositories/web1"] {
            let answer = line.ask("GET", path, Some(&guess), b"");
            // Behind too many guesses there may be a pause.
            assert!(
                [401, 429].contains(&answer.status),
                "{guess}: {}",
                answer.status
            );
            assert!(!answer.text().contains(header));
        }
    }
    assert_eq!(
        line.ask("GET", "/web1/config", Some(header), b"").status,
        200
    );
    before.assert_same_objects(&served.kept());
    served.assert_survives(&before);
}
