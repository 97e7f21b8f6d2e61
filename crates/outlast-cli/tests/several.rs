//! Several custodians: written to at once, each away, behind or destroyed in turn.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::vault::{TestVault, vault_program};
use support::{World, json_lines};

/// A machine and its custodians: two vaults and a disk.
struct Setting {
    world: World,
    vaults: Vec<TestVault>,
}

impl Setting {
    fn new(vaults: usize) -> Option<Self> {
        let program = vault_program()?;
        let world = World::new();
        for number in 0..20_u32 {
            let bytes = number.to_le_bytes().repeat(20_000);
            world.write(&format!("documents/file{number}"), bytes);
        }
        let make = |number| {
            let name = format!("vault{number}.example");
            TestVault::new(&program, world.join(&name), &name)
        };
        let vaults = (1..=vaults).map(make).collect();
        Some(Self { world, vaults })
    }

    fn add_vault(&self, number: usize) {
        let name = format!("v{number}");
        let invite = self.vaults[number - 1].invite(&["web1"]);
        self.world
            .succeeds(&["custodian", "add", &invite, "--name", &name]);
    }

    fn add_reader(&self, number: usize) {
        let name = format!("v{number}-restore");
        let invite = self.vaults[number - 1].invite(&["web1", "--scope", "restore"]);
        self.world
            .succeeds(&["custodian", "add", &invite, "--name", &name]);
    }

    fn disk(&self) -> PathBuf {
        self.world.join("usb")
    }

    fn add_disk(&self) {
        let location = format!("disk:{}", self.disk().display());
        self.world.succeeds(&["custodian", "add", &location]);
    }

    fn change(&self, content: &str) {
        self.world.write("documents/file0", content);
    }

    fn protect(&self, code: i32) -> String {
        let documents = self.world.join("documents").display().to_string();
        self.world.ends_with(&["protect", &documents], code)
    }

    fn status(&self) -> Value {
        let text = self.world.succeeds(&["--json", "status"]);
        json_lines(&text).pop().unwrap()
    }

    /// Restores from a location on its own and compares.
    fn restores(&self, location: &str) {
        let password = self.world.join(".config/outlast/repository.key");
        let password = password.display().to_string();
        let target = self.world.join("restored");
        let _ = fs::remove_dir_all(&target);
        let to = target.display().to_string();
        let start = ["-r", location, "--password-file", &password];
        let restore = ["restore", "latest", "--target", &to];
        self.world.succeeds(&[&start[..], &restore[..]].concat());
        let source = self.world.join("documents");
        let below = target.join(source.strip_prefix("/").unwrap());
        for number in 0..20 {
            let name = format!("file{number}");
            let (ours, theirs) = (source.join(&name), below.join(&name));
            assert!(
                fs::read(ours).unwrap() == fs::read(theirs).unwrap(),
                "{name}"
            );
        }
        self.world
            .succeeds(&[&start[..], &["check", "--read-data"]].concat());
    }
}

#[test]
fn one_command_writes_to_all_and_any_one_alone_restores() {
    let Some(mut setting) = Setting::new(2) else {
        return;
    };
    setting.add_vault(1);
    setting.add_vault(2);
    setting.add_disk();
    let said = setting.protect(0);
    assert!(said.contains("SAFE: "), "{said}");
    assert!(!said.contains("NOT SAFE"), "{said}");
    let status = setting.status();
    assert_eq!(status["safe"], true, "{status:#}");
    assert_eq!(status["sets"][0]["custodians"].as_array().unwrap().len(), 3);
    let table = setting.world.succeeds(&["status"]);
    assert!(table.contains("usb") && table.contains("v1"), "{table}");

    setting.add_reader(1);
    setting.add_reader(2);
    setting.restores("vault:v1-restore");
    setting.restores("vault:v2-restore");
    setting.restores("disk:usb");

    // Two are destroyed, and the third is read.
    for vault in &mut setting.vaults {
        vault.stop();
        fs::remove_dir_all(&vault.folder).unwrap();
    }
    setting.restores("disk:usb");
}

#[test]
fn whoever_was_away_is_completed_later() {
    let Some(mut setting) = Setting::new(2) else {
        return;
    };
    setting.add_vault(1);
    setting.add_vault(2);
    setting.add_disk();
    setting.protect(0);

    // One vault and the disk are away: one party is not enough, and nothing is lost.
    setting.vaults[1].stop();
    let away = setting.world.join("drawer");
    fs::rename(setting.disk(), &away).unwrap();
    setting.change("changed");
    let said = setting.protect(20);
    assert!(said.contains("NOT SAFE YET"), "{said}");
    assert!(said.contains("not attached"), "{said}");
    let status = setting.status();
    assert_eq!(status["safe"], false);
    // Nobody here may read from the vault, so that what the others lack is kept on this machine.
    let spool = setting.world.join(".local/share/outlast/spool/data");
    assert!(fs::read_dir(&spool).unwrap().count() > 0);

    setting.vaults[1].serve();
    let said = setting.world.ends_with(&["sync"], 3);
    assert!(said.contains("v2 has everything now"), "{said}");
    assert_eq!(setting.status()["safe"], true);
    // Another disk in its place is not the custodian.
    fs::create_dir(setting.disk()).unwrap();
    setting.world.ends_with(&["sync"], 3);
    assert!(!setting.disk().join("data").exists());
    fs::remove_dir(setting.disk()).unwrap();
    fs::rename(&away, setting.disk()).unwrap();
    let said = setting.world.succeeds(&["sync"]);
    assert!(said.contains("usb has everything now"), "{said}");
    let packs = |folder: &PathBuf| {
        let folders = fs::read_dir(folder).unwrap();
        let count = |folder: std::io::Result<fs::DirEntry>| {
            fs::read_dir(folder.unwrap().path()).unwrap().count()
        };
        folders.map(count).sum::<usize>()
    };
    assert_eq!(packs(&spool), 0, "the spool is emptied when all have it");
    setting.restores("disk:usb");
    setting.add_reader(2);
    setting.restores("vault:v2-restore");
}

/// A custodian that is added later gets everything from before, from another that may be read.
#[test]
fn a_new_custodian_is_completed_from_another() {
    let Some(setting) = Setting::new(2) else {
        return;
    };
    setting.add_vault(1);
    setting.protect(0);
    setting.add_vault(2);
    setting.change("changed");
    let said = setting.protect(20);
    assert!(
        said.contains("v2: lacks something of earlier backups"),
        "{said}"
    );
    // Nobody may read the first vault: what is missing is said, and no torn snapshot is shown.
    let said = setting.world.ends_with(&["sync"], 3);
    assert!(said.contains("lacks"), "{said}");
    setting.add_reader(2);
    let password = setting.world.join(".config/outlast/repository.key");
    let password = password.display().to_string();
    let start = [
        "--json",
        "-r",
        "vault:v2-restore",
        "--password-file",
        &password,
    ];
    let text = setting
        .world
        .succeeds(&[&start[..], &["snapshots"]].concat());
    assert_eq!(
        json_lines(&text).pop().unwrap().as_array().unwrap().len(),
        0
    );

    setting.add_reader(1);
    let said = setting.world.succeeds(&["sync"]);
    assert!(said.contains("v2 has everything now"), "{said}");
    setting.restores("vault:v2-restore");
    let said = setting.protect(0);
    assert!(said.contains("SAFE: v1, v2"), "{said}");
}

/// Passes everything on to another port, so many bytes a second in each direction.
fn crawl(listener: TcpListener, to: u16, bytes_per_second: usize) {
    let pass_on = move |mut from: TcpStream, mut to: TcpStream| {
        let mut portion = vec![0; bytes_per_second / 10];
        while let Ok(count @ 1..) = from.read(&mut portion) {
            std::thread::sleep(Duration::from_millis(100));
            if to.write_all(&portion[..count]).is_err() {
                return;
            }
        }
    };
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else {
                return;
            };
            let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || pass_on(near, far));
            std::thread::spawn(move || pass_on(back.0, back.1));
        }
    });
}

/// Answers whatever comes with bytes that mean nothing, without end.
fn talk_nonsense(listener: TcpListener) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || while stream.write_all(&[0x5a; 4096]).is_ok() {});
        }
    });
}

/// Three vaults that have a first state; the third is then replaced by whatever `replace` puts at
/// its port. The others must get the next state at once, and it what it missed when it is back.
fn costs_the_others_nothing(replace: impl FnOnce(&mut TestVault)) {
    let Some(mut setting) = Setting::new(3) else {
        return;
    };
    for number in 1..=3 {
        setting.add_vault(number);
    }
    setting.protect(0);
    // At 10 kB a second this takes minutes.
    let mut state = 1_u64;
    let random = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let bytes: Vec<u8> = random.take(400_000).flatten().collect();
    setting.world.write("documents/file0", bytes);
    setting.vaults[2].stop();
    replace(&mut setting.vaults[2]);
    let began = Instant::now();
    let said = setting.protect(0);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(said.contains("SAFE: v1, v2"), "{said}");
    assert!(said.contains("v3: "), "{said}");

    // The same vault, reached well again.
    setting.vaults[2].stop();
    setting.vaults[2].move_elsewhere();
    setting.vaults[2].serve();
    setting.add_vault(3);
    setting.world.succeeds(&["sync"]);
    let set = &setting.status()["sets"][0];
    let rows = set["custodians"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["why"].is_null()), "{rows:#?}");
}

fn listen_at(port: u16) -> TcpListener {
    TcpListener::bind(("127.0.0.1", port)).unwrap()
}

#[test]
fn a_custodian_that_hangs_costs_the_others_nothing() {
    // Whoever connects waits for an answer that never comes.
    costs_the_others_nothing(|vault| std::mem::forget(listen_at(vault.port)));
}

#[test]
fn a_custodian_that_crawls_costs_the_others_nothing() {
    costs_the_others_nothing(|vault| {
        let known = vault.port;
        vault.move_elsewhere();
        vault.serve();
        crawl(listen_at(known), vault.port, 10_000);
    });
}

#[test]
fn a_custodian_that_answers_garbage_costs_the_others_nothing() {
    costs_the_others_nothing(|vault| talk_nonsense(listen_at(vault.port)));
}

/// Whoever began with a repository on the machine itself adds custodians, and goes on.
#[test]
fn a_repository_on_this_machine_is_kept_by_custodians_too() {
    let Some(setting) = Setting::new(2) else {
        return;
    };
    setting.protect(0);
    setting.add_vault(1);
    setting.change("changed");
    let said = setting.protect(0);
    assert!(said.contains("receipt: v1 holds"), "{said}");
    assert!(said.contains("held by v1"), "{said}");
    setting.add_vault(2);
    let said = setting.protect(0);
    assert!(said.contains("SAFE: v1, v2"), "{said}");
    setting.add_reader(2);
    setting.restores("vault:v2-restore");

    // restic's verb at one custodian shows what that one has, and is remembered as well.
    setting.add_disk();
    setting.world.succeeds(&["sync"]);
    let password = setting.world.join(".config/outlast/repository.key");
    let password = password.display().to_string();
    let documents = setting.world.join("documents").display().to_string();
    let start = ["-r", "disk:usb", "--password-file", &password];
    let backup = ["backup", &documents];
    let said = setting.world.succeeds(&[&start[..], &backup[..]].concat());
    assert!(said.contains("evidence: usb keeps all"), "{said}");
}

#[test]
fn a_policy_says_what_is_safe() {
    let Some(setting) = Setting::new(2) else {
        return;
    };
    setting.add_vault(1);
    setting.add_vault(2);
    setting.protect(0);
    let file = setting.world.join(".config/outlast/outlast.toml");
    let text = fs::read_to_string(&file).unwrap();
    let policy = r#"
[custody]
require = "all"
[custody.custodians.v1]
party = "Host A"
administration = "we"
[custody.custodians.v2]
party = "Host B"
administration = "we"
[custody.groups.all]
need = "all"
of = ["v1", "v2"]
"#;
    // Both are under one administration: one party.
    fs::write(&file, format!("{text}{policy}")).unwrap();
    let said = setting.world.ends_with(&["status"], 1);
    assert!(said.contains("custody policy"), "{said}");
    let apart = policy.replace("administration = \"we\"\n", "");
    fs::write(&file, format!("{text}{apart}")).unwrap();
    assert_eq!(setting.status()["safe"], true);
    let misspelt = apart.replace("need", "ned");
    fs::write(&file, format!("{text}{misspelt}")).unwrap();
    setting.world.ends_with(&["status"], 1);
}

/// Every credential of the machine tries what it must not be able to do.
#[test]
fn what_a_stolen_machine_could_do_is_tried_and_told() {
    let Some(mut setting) = Setting::new(2) else {
        return;
    };
    setting.add_vault(1);
    setting.add_vault(2);
    setting.protect(0);
    let report = setting.world.join("report.note");
    let file = report.display().to_string();
    let page = setting.world.join("report.html");
    let html = page.display().to_string();
    let text = setting
        .world
        .succeeds(&["--json", "prove", "--report", &file, "--html", &html]);
    let proof = json_lines(&text).pop().unwrap();
    assert_eq!(proof["clean"], true, "{proof:#}");
    let attempts = proof["report"]["attempts"].as_array().unwrap();
    let refused = |attempt: &&Value| attempt["outcome"]["result"] == "refused";
    assert_eq!(attempts.iter().filter(refused).count(), 6, "{attempts:#?}");
    assert!(fs::read_to_string(&page).unwrap().contains("<table>"));
    // The probes disturb nobody, and more of them are not kept.
    setting.world.succeeds(&["prove"]);
    setting.add_reader(1);
    setting.restores("vault:v1-restore");

    // Offline, and anybody who knows the key.
    setting.vaults.iter_mut().for_each(TestVault::stop);
    setting.world.succeeds(&["prove", "--verify", &file]);
    let signer = proof["signed_by"][0].as_str().unwrap();
    setting
        .world
        .succeeds(&["prove", "--verify", &file, "--identity", signer]);
    let text = fs::read_to_string(&report).unwrap();
    fs::write(&report, text.replacen("refused", "Refused", 1)).unwrap();
    setting.world.ends_with(&["prove", "--verify", &file], 1);
    let known = setting.world.succeeds(&["--json", "custodian", "list"]);
    let known = json_lines(&known).pop().unwrap();
    let other = known[0]["identity"].as_str().unwrap();
    fs::write(&report, &text).unwrap();
    setting.world.succeeds(&["prove", "--verify", &file]);
    setting
        .world
        .ends_with(&["prove", "--verify", &file, "--identity", other], 1);

    // A disk that is attached can be emptied, and so can whatever keeps only the rest.
    setting.vaults.iter_mut().for_each(TestVault::serve);
    setting.add_disk();
    setting.protect(0);
    let said = setting.world.ends_with(&["prove"], 20);
    assert!(said.contains("usb: remove an object"), "{said}");
    assert!(said.contains("SUCCEEDED"), "{said}");
    setting.world.succeeds(&["sync"]);
    setting.restores("disk:usb");
    fs::rename(setting.disk(), setting.world.join("drawer")).unwrap();
    setting.world.succeeds(&["prove"]);
}

/// Two hundred data sets at five custodians, each with as many snapshots as are remembered.
#[test]
fn the_status_of_many_data_sets_is_there_at_once() {
    let world = World::new();
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        let location = format!("disk:{}", world.join(name).display());
        world.succeeds(&["custodian", "add", &location]);
    }
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for set in 0..200 {
        let snapshot = |age: u64| {
            let id = format!("{:064x}", set * 1000 + age);
            let evidence = |name: &str| {
                let evidence = serde_json::json!({
                    "kind": "disk", "custodian": name, "snapshot": id, "list": id, "objects": 2,
                    "bytes": 9, "observed": now - age, "retained_until": null, "versions": null,
                    "tamper_tested": null,
                });
                (name.to_owned(), evidence)
            };
            let evidence: serde_json::Map<_, _> = names.map(evidence).into_iter().collect();
            serde_json::json!({
                "snapshot": id, "time": now - age, "list": id, "objects": 2, "evidence": evidence,
            })
        };
        let snapshots: Vec<Value> = (0..20).map(|age| snapshot(age * 86_400)).collect();
        let host = format!("host{set}");
        let set = serde_json::json!({"host": host, "paths": ["/srv"], "snapshots": snapshots});
        world.write(
            &format!(".local/share/outlast/data-sets/{host}.json"),
            set.to_string(),
        );
    }
    let began = Instant::now();
    let text = world.succeeds(&["--json", "status"]);
    let took = began.elapsed();
    let status = json_lines(&text).pop().unwrap();
    assert_eq!(status["data_sets_safe"], 200, "{}", status["advice"]);
    // It takes a fraction of this; machines that test are slow at times.
    assert!(took < Duration::from_secs(3), "{took:?}");
    println!("status of 200 data sets: {took:?}");
    let table = world.succeeds(&["status"]);
    let widest = table.lines().map(|line| line.chars().count()).max();
    assert!(widest < Some(120), "{widest:?}");
}
