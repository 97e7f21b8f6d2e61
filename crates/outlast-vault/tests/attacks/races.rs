//! Many at once on one name: one content stays, and whoever sent the same is told so.

use std::sync::Barrier;

use outlast_custody::Scope;
use outlast_object::{ObjectKind, ObjectName, hash};

use crate::served::{Served, Who, header_of, path_of};
use crate::support::{key_file, pack, settings};

const RACERS: usize = 16;

/// Asks from many threads at once; gives the statuses.
fn race(served: &Served, header: &str, path: &str, bodies: &[Vec<u8>]) -> Vec<u16> {
    let barrier = Barrier::new(bodies.len());
    std::thread::scope(|scope| {
        let threads = bodies.iter().map(|body| {
            let barrier = &barrier;
            scope.spawn(move || {
                let mut line = served.line();
                barrier.wait();
                line.ask("POST", path, Some(header), body).status
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

#[test]
fn racing_for_one_name_with_the_same_bytes() {
    let served = Served::new();
    let before = served.kept();
    let header = served.header(Who::Append).unwrap();
    for seed in 0..20 {
        let bytes = pack(600 + seed, 20_000);
        let path = path_of(&ObjectName::pack(hash(&bytes)));
        let statuses = race(&served, header, &path, &vec![bytes.clone(); RACERS]);
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        assert!(served.ask("GET", &path, Who::Restore, b"").body == bytes);
    }
    assert_eq!(served.kept().objects(), before.objects() + 20);
    served.assert_survives(&before);
}

#[test]
fn racing_for_one_name_with_other_bytes() {
    let served = Served::new();
    let before = served.kept();
    let header = served.header(Who::Append).unwrap();
    for seed in 0..20 {
        let right = pack(700 + seed, 20_000);
        let path = path_of(&ObjectName::pack(hash(&right)));
        let mut bodies: Vec<_> = (1..RACERS as u64)
            .map(|other| pack(9_000 + 100 * seed + other, 20_000))
            .collect();
        bodies.insert(seed as usize % RACERS, right.clone());
        let statuses = race(&served, header, &path, &bodies);
        for (body, status) in bodies.iter().zip(statuses) {
            if *body == right {
                assert_eq!(status, 200);
            } else {
                assert!([400, 403].contains(&status), "{status}");
            }
        }
        assert!(served.ask("GET", &path, Who::Restore, b"").body == right);
    }
    assert_eq!(served.kept().objects(), before.objects() + 20);
    served.assert_survives(&before);
}

#[test]
fn racing_to_make_a_repository() {
    let served = Served::new();
    let before = served.kept();
    for round in 0..10 {
        let name: outlast_custody::RepositoryName = format!("new{round}").parse().unwrap();
        served.vault.set_repository(&name, settings()).unwrap();
        let scopes = [Scope::Enrol, Scope::Restore];
        let made = served.vault.add_token(&name, &scopes, "race").unwrap();
        let header = header_of(&made);
        let key = key_file();
        let mut line = served.line();
        let path = format!("/{name}/keys/{}", hash(&key));
        assert_eq!(line.ask("POST", &path, Some(&header), &key).status, 200);
        let configs: Vec<Vec<u8>> = (0..RACERS).map(|byte| vec![byte as u8; 155]).collect();
        let path = format!("/{name}/config");
        let statuses = race(&served, &header, &path, &configs);
        let won: Vec<_> = configs
            .iter()
            .zip(&statuses)
            .filter(|(_, status)| **status == 200)
            .collect();
        assert_eq!(won.len(), 1, "{statuses:?}");
        let kept = line.ask("GET", &path, Some(&header), b"").body;
        assert!(
            kept == *won[0].0,
            "another config is served than was acknowledged"
        );
        // And no later one, nor another key.
        let status = line.ask("POST", &path, Some(&header), &[99; 155]).status;
        assert_eq!(status, 403);
        let other = br#"{"kdf":"scrypt","N":2}"#;
        let path = format!("/{name}/keys/{}", hash(other));
        assert_eq!(line.ask("POST", &path, Some(&header), other).status, 403);
        let listed = line.ask("GET", &format!("/{name}/keys/"), Some(&header), b"");
        assert_eq!(listed.text().matches('"').count(), 2, "{}", listed.text());
    }
    served.assert_survives(&before);
}

#[test]
fn racing_uploads_with_reads_of_the_same_name() {
    let served = Served::new();
    let before = served.kept();
    let append = served.header(Who::Append).unwrap();
    let restore = served.header(Who::Restore).unwrap();
    for seed in 0..10 {
        let bytes = pack(800 + seed, 200_000);
        let path = path_of(&ObjectName::new(ObjectKind::Pack, hash(&bytes)));
        std::thread::scope(|scope| {
            let upload = scope.spawn(|| {
                served
                    .line()
                    .ask("POST", &path, Some(append), &bytes)
                    .status
            });
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut line = served.line();
                    for _ in 0..20 {
                        let answer = line.ask("GET", &path, Some(restore), b"");
                        // Whole or not at all.
                        match answer.status {
                            200 => assert!(answer.body == bytes),
                            status => assert_eq!(status, 404),
                        }
                    }
                });
            }
            assert_eq!(upload.join().unwrap(), 200);
        });
    }
    served.assert_survives(&before);
}
