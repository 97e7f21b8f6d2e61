//! The same attacks on a vault and on rest-server in append-only mode. What happens is compared with
//! the table in `docs/attacks.md`, which is the expectation.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use outlast_log::VerifiedCheckpoint;
use outlast_object::{ObjectKind, ObjectName, hash};

use crate::raw::{connect, read_answer, request, talk};
use crate::served::{basic, path_of};
use crate::support::{key, pack};
use crate::victims::{Kind, ROOM_BYTES, Setting, Victim, file_of, objects, source};

const DOCUMENT: &str = include_str!("../../../../docs/attacks.md");
/// How long a connection is held before the test believes that it would be for ever.
const HELD: Duration = Duration::from_secs(2);

/// What becomes of an attack, in the word that the table has.
type Verdict = &'static str;
type Attack = fn(&Victim) -> Verdict;

const ATTACKS: &[(&str, Setting, Attack)] = &[
    (
        "deleting every object",
        Setting::Usual,
        deleting_every_object,
    ),
    (
        "deleting the repository",
        Setting::Usual,
        deleting_the_repository,
    ),
    (
        "overwriting every object",
        Setting::Usual,
        overwriting_every_object,
    ),
    ("`restic forget --prune`", Setting::Usual, forgetting),
    (
        "asking without credentials",
        Setting::Usual,
        asking_without_credentials,
    ),
    (
        "reaching a neighbour's repository",
        Setting::Usual,
        reaching_a_neighbour,
    ),
    (
        "paths that lead elsewhere",
        Setting::Usual,
        paths_that_lead_elsewhere,
    ),
    ("heads without end", Setting::Usual, heads_without_end),
    (
        "breaking off an upload",
        Setting::Usual,
        breaking_off_an_upload,
    ),
    ("bytes under a false name", Setting::Usual, false_names),
    ("junk that is no pack", Setting::Usual, junk_that_is_no_pack),
    ("adding a key", Setting::Usual, adding_a_key),
    ("leaving a lock", Setting::Usual, leaving_a_lock),
    ("planting an index", Setting::Usual, planting_an_index),
    (
        "planting a snapshot dated 2095",
        Setting::Usual,
        planting_a_snapshot,
    ),
    (
        "reading back what was backed up",
        Setting::Usual,
        reading_back,
    ),
    (
        "making more repositories",
        Setting::Usual,
        making_more_repositories,
    ),
    ("taking all the room", Setting::Small, taking_all_the_room),
    (
        "announcing a terabyte",
        Setting::Usual,
        announcing_a_terabyte,
    ),
    (
        "holding connections open",
        Setting::Usual,
        holding_connections_open,
    ),
    (
        "losing the answer to an upload",
        Setting::Usual,
        losing_an_answer,
    ),
    ("removing files as root", Setting::Usual, removing_files),
    ("changing a file as root", Setting::Usual, changing_a_file),
    (
        "putting back an older state as root",
        Setting::Usual,
        putting_back_an_older_state,
    ),
];

/// The rows of the document: the attack, and the words for both.
fn expected() -> BTreeMap<String, (String, String)> {
    let word = |cell: &str| {
        let mut parts = cell.split("**");
        parts.nth(1).unwrap_or_default().to_owned()
    };
    let rows = DOCUMENT.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
        let [attack, vault, rest_server] = cells.as_slice() else {
            return None;
        };
        let row = (word(vault), word(rest_server));
        (!row.0.is_empty()).then(|| ((*attack).to_owned(), row))
    });
    rows.collect()
}

fn attack_all(kind: Kind) {
    let expected = expected();
    let known: Vec<&str> = ATTACKS.iter().map(|(name, ..)| *name).collect();
    for name in expected.keys() {
        assert!(known.contains(&name.as_str()), "nothing tries {name}");
    }
    let mut wrong = Vec::new();
    for (name, setting, attack) in ATTACKS {
        let Some(victim) = Victim::start(kind, *setting) else {
            return;
        };
        let found = attack(&victim);
        let row = expected.get(*name);
        let word = row.map(|(vault, rest_server)| match kind {
            Kind::Vault => vault.as_str(),
            Kind::RestServer => rest_server.as_str(),
        });
        if word != Some(found) {
            wrong.push(format!("{name}: {found}, but the document says {word:?}"));
        }
    }
    assert!(wrong.is_empty(), "{kind:?}:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_of_attacks_says_what_happens_to_a_vault() {
    attack_all(Kind::Vault);
}

#[test]
fn the_table_of_attacks_says_what_happens_to_rest_server() {
    attack_all(Kind::RestServer);
}

fn refused_if(refused: bool) -> Verdict {
    if refused { "refused" } else { "taken" }
}

/// Whether an answer is no success. Being sent elsewhere is none.
fn is_refused(status: u16) -> bool {
    !(200..300).contains(&status)
}

fn deleting_every_object(victim: &Victim) -> Verdict {
    let all = objects();
    let mut statuses = all
        .iter()
        .map(|(name, _)| victim.attack("DELETE", &path_of(name), b""));
    refused_if(statuses.all(is_refused) && victim.has_everything())
}

fn deleting_the_repository(victim: &Victim) -> Verdict {
    let paths = ["/web1/", "/web1/data/", "/web1/snapshots/", "/"];
    let mut statuses = paths
        .map(|path| victim.attack("DELETE", path, b""))
        .into_iter();
    refused_if(statuses.all(is_refused) && victim.has_everything())
}

fn overwriting_every_object(victim: &Victim) -> Verdict {
    let all = objects();
    let mut statuses = all.iter().flat_map(|(name, bytes)| {
        let mut other = bytes.clone();
        other[0] ^= 1;
        ["POST", "PUT"].map(|verb| victim.attack(verb, &path_of(name), &other))
    });
    refused_if(statuses.all(is_refused) && victim.has_everything())
}

fn forgetting(victim: &Victim) -> Verdict {
    let arguments = [
        "forget",
        "--prune",
        "--unsafe-allow-remove-all",
        "--host",
        "web1",
    ];
    let output = victim.restic(&victim.attacker, "", &arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    refused_if(!output.status.success() && said.contains("403") && victim.has_everything())
}

fn asking_without_credentials(victim: &Victim) -> Verdict {
    let false_login = (victim.attacker.0.clone(), "wrong".to_owned());
    let logins = [None, Some(&false_login)];
    let refused = logins.iter().all(|login| {
        ["GET", "HEAD", "POST", "DELETE"]
            .iter()
            .all(|verb| victim.ask(verb, "/web1/config", *login, b"").status == 401)
    });
    refused_if(refused)
}

fn reaching_a_neighbour(victim: &Victim) -> Verdict {
    let paths = ["/web2/config", "/web2/keys/", "/web2/../web2/config"];
    let refused = paths.iter().all(|path| {
        ["GET", "HEAD", "POST", "DELETE"]
            .iter()
            .all(|verb| is_refused(victim.attack(verb, path, b"")))
    });
    refused_if(refused)
}

fn paths_that_lead_elsewhere(victim: &Victim) -> Verdict {
    fs::write(victim.store.join("../outside"), b"outside").unwrap();
    let all = objects();
    let id = all[2].0.id();
    let refused = [
        "/web1/../outside".to_owned(),
        "/web1/%2e%2e/outside".to_owned(),
        "/web1/data/..%2f..%2foutside".to_owned(),
        "/web1/keys/..%2f..%2foutside".to_owned(),
        "/web1/..%2fweb2/config".to_owned(),
        "/web1/%2e%2e/web2/config".to_owned(),
        "/web1/..\\outside".to_owned(),
        format!("/web1/locks/..%2fdata%2f{id}"),
        format!("/web1/locks/../data/{id}"),
    ]
    .iter()
    .all(|path| {
        let read = victim.ask("GET", path, Some(&victim.attacker), b"");
        let deleted = victim.attack("DELETE", path, b"");
        is_refused(read.status) && is_refused(deleted)
    });
    refused_if(refused && victim.has_everything())
}

fn heads_without_end(victim: &Victim) -> Verdict {
    let head = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(4_000_000));
    let answers = talk(victim.address, head.as_bytes());
    refused_if(answers.iter().all(|answer| is_refused(answer.status)))
}

fn breaking_off_an_upload(victim: &Victim) -> Verdict {
    let bytes = pack(1, 50_000);
    let path = path_of(&ObjectName::pack(hash(&bytes)));
    let (user, password) = &victim.attacker;
    let whole = request("POST", &path, Some(&basic(user, password)), &bytes);
    talk(victim.address, &whole[..whole.len() - 1]);
    let shown = victim.ask("HEAD", &path, Some(&victim.owner), b"").status;
    let again = victim.attack("POST", &path, &bytes);
    if shown == 404 && again == 200 {
        "harmless"
    } else {
        "shown"
    }
}

fn false_names(victim: &Victim) -> Verdict {
    let bytes = pack(1, 5_000);
    let refused = ["data", "index", "snapshots"].iter().all(|folder| {
        let path = format!("/web1/{folder}/{}", hash(b"x"));
        is_refused(victim.attack("POST", &path, &bytes))
    });
    refused_if(refused)
}

fn junk_that_is_no_pack(victim: &Victim) -> Verdict {
    let bytes = [7; 3_000];
    let path = path_of(&ObjectName::pack(hash(&bytes)));
    refused_if(is_refused(victim.attack("POST", &path, &bytes)))
}

fn adding_a_key(victim: &Victim) -> Verdict {
    let file = victim.folder.path().join("new-password");
    fs::write(&file, "another").unwrap();
    let shown = file.display().to_string();
    let arguments = ["key", "add", "--new-password-file", &shown];
    let output = victim.restic(&victim.attacker, "", &arguments);
    refused_if(!output.status.success())
}

/// A lock that nobody can read: whoever looks for locks does not know what to make of it.
fn leaving_a_lock(victim: &Victim) -> Verdict {
    let bytes = [7; 150];
    let path = format!("/web1/locks/{}", hash(&bytes));
    assert_eq!(victim.attack("POST", &path, &bytes), 200);
    let source = source().display().to_string();
    let output = victim.restic(&victim.attacker, "", &["backup", "--force", &source]);
    if output.status.success() && victim.restores("") {
        "harmless"
    } else {
        "blocks"
    }
}

/// What the owner can do after a planting.
fn after_planting(victim: &Victim, position: Option<u64>, now: Verdict) -> Verdict {
    if victim.restores("") {
        return "harmless";
    }
    match position {
        Some(position) if victim.restores(&format!("/as-of/{position}")) => "undone",
        _ => now,
    }
}

fn planting_an_index(victim: &Victim) -> Verdict {
    let position = victim.log_size();
    let bytes = [7; 500];
    let path = format!("/web1/index/{}", hash(&bytes));
    assert_eq!(victim.attack("POST", &path, &bytes), 200);
    after_planting(victim, position, "blocks")
}

fn planting_a_snapshot(victim: &Victim) -> Verdict {
    let position = victim.log_size();
    let source = victim.folder.path().join("evil");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file0"), "not what you saved").unwrap();
    let source = source.display().to_string();
    let time = "2095-01-01 00:00:00";
    let arguments = ["backup", "--force", "--time", time, &source];
    let output = victim.restic(&victim.attacker, "", &arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    after_planting(victim, position, "hides")
}

fn reading_back(victim: &Victim) -> Verdict {
    let all = objects();
    let mut packs = all
        .iter()
        .filter(|(name, _)| name.kind() == ObjectKind::Pack);
    let refused = packs.all(|(name, _)| is_refused(victim.attack("GET", &path_of(name), b"")));
    if refused { "refused" } else { "read" }
}

fn making_more_repositories(victim: &Victim) -> Verdict {
    refused_if(is_refused(victim.attack(
        "POST",
        "/web1/more/?create=true",
        b"",
    )))
}

fn taking_all_the_room(victim: &Victim) -> Verdict {
    let put = |login, repository: &str, seed| {
        let bytes = pack(seed, 20_000);
        let path = format!("/{repository}/data/{}", hash(&bytes));
        victim.ask("POST", &path, Some(login), &bytes).status
    };
    let mut seed = 0;
    while put(&victim.attacker, "web1", seed) == 200 {
        seed += 1;
        assert!(seed * 20_000 <= ROOM_BYTES, "there is no limit");
    }
    if put(&victim.neighbour, "web2", 1_000) == 200 {
        "contained"
    } else {
        "spreads"
    }
}

fn announcing_a_terabyte(victim: &Victim) -> Verdict {
    let (user, password) = &victim.attacker;
    let header = basic(user, password);
    let head = format!(
        "POST /web1/data/{} HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n\
         Content-Length: 1000000000000\r\n\r\n",
        hash(b"x")
    );
    let mut stream = connect(victim.address);
    stream.set_read_timeout(Some(HELD)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    match read_answer(&mut stream, false) {
        Some(answer) => refused_if(is_refused(answer.status)),
        None => "awaited",
    }
}

fn holding_connections_open(victim: &Victim) -> Verdict {
    let mut held: Vec<_> = (0..20).map(|_| connect(victim.address)).collect();
    for stream in &mut held {
        stream
            .write_all(b"GET /web1/config HTTP/1.1\r\nX-")
            .unwrap();
    }
    let mut is_ended = true;
    for stream in &mut held {
        stream.set_read_timeout(Some(HELD)).unwrap();
        let mut rest = Vec::new();
        is_ended &= stream.read_to_end(&mut rest).is_ok();
        if !is_ended {
            break;
        }
    }
    if is_ended { "ended" } else { "held" }
}

fn losing_an_answer(victim: &Victim) -> Verdict {
    let bytes = pack(1, 5_000);
    let path = path_of(&ObjectName::pack(hash(&bytes)));
    assert_eq!(victim.attack("POST", &path, &bytes), 200);
    if victim.attack("POST", &path, &bytes) == 200 {
        "harmless"
    } else {
        "fails"
    }
}

fn removing_files(victim: &Victim) -> Verdict {
    let all = objects();
    let (name, _) = all
        .iter()
        .find(|(name, _)| name.kind() == ObjectKind::Pack)
        .unwrap();
    fs::remove_file(victim.store.join(file_of(name))).unwrap();
    let status = victim
        .ask("GET", &path_of(name), Some(&victim.owner), b"")
        .status;
    let checked = victim.restic(&victim.owner, "", &["check", "--no-lock"]);
    match (status, checked.status.success()) {
        (404, false) => "lost, noticed",
        (404, true) => "lost, unnoticed",
        _ => "survives",
    }
}

fn changing_a_file(victim: &Victim) -> Verdict {
    let all = objects();
    let (name, bytes) = all
        .iter()
        .find(|(name, _)| name.kind() == ObjectKind::Pack)
        .unwrap();
    let mut changed = bytes.clone();
    changed[5] ^= 1;
    let path = victim.store.join(file_of(name));
    fs::remove_file(&path).unwrap();
    fs::write(&path, &changed).unwrap();
    let answer = victim.ask("GET", &path_of(name), Some(&victim.owner), b"");
    let read = victim.restic(&victim.owner, "", &["check", "--no-lock", "--read-data"]);
    match (answer.body == changed, read.status.success()) {
        (true, false) => "served, noticed",
        (true, true) => "served, unnoticed",
        (false, _) => "withheld",
    }
}

/// Everything as it was an hour ago. Whoever kept a checkpoint of the log sees it.
fn putting_back_an_older_state(victim: &Victim) -> Verdict {
    let bytes = pack(1, 5_000);
    let path = path_of(&ObjectName::pack(hash(&bytes)));
    let Some((vault, world)) = victim.inside() else {
        assert_eq!(victim.attack("POST", &path, &bytes), 200);
        let name = ObjectName::pack(hash(&bytes));
        fs::remove_file(victim.store.join(file_of(&name))).unwrap();
        let output = victim.restic(&victim.owner, "", &["check", "--no-lock"]);
        return if output.status.success() {
            "unnoticed"
        } else {
            "noticed"
        };
    };
    let base = victim.folder.path().join("vault");
    let files = ["ledger/journal/0000000000000000", "log/checkpoint"];
    let older = files.map(|file| fs::read(base.join(file)).unwrap());
    assert_eq!(victim.attack("POST", &path, &bytes), 200);
    assert_eq!(vault.log_size(), victim.log_size().unwrap());
    let open = |bytes: &[u8]| {
        let opened = VerifiedCheckpoint::open(bytes, &key().verifier(), &[]).unwrap();
        opened.checkpoint().clone()
    };
    let seen = open(&vault.checkpoint());
    for (file, bytes) in files.iter().zip(older) {
        fs::write(base.join(file), bytes).unwrap();
    }
    let reopened = world.open();
    let now = open(&reopened.checkpoint());
    if now.size < seen.size || now.root != seen.root {
        "noticed"
    } else {
        "unnoticed"
    }
}
