//! Repositories go from hand to hand between outlast, restic 0.14, restic 0.19 and rustic: each finds
//! them sound after each other, nothing is stored twice, and each can repair what another wrote.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outlast_format::{BlobKind, ScryptCost};
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_repo::{
    BackupOptions, Cancel, Environment, ExclusiveLock, InitOptions, NoObserver, NoProgress,
    OpenOptions, ReadData, Removal, RepairIndexOptions, RepairOriginals, Repository,
    StoredSnapshot, backup, repair_index, repair_packs, repair_snapshots,
};
use outlast_source::{FileTree, FileTreeOptions};
use outlast_store::{Deletes, LocalStore};
use support::judge::{must_run, run};
use support::small::{check_reading, names};
use support::{PASSWORD, backup_options, noise, tools};

struct Place {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Place {
    fn new(program: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source/dir");
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(source.join("large"), noise(9 << 20, 1)).unwrap();
        std::fs::write(source.join("text"), "hello\n".repeat(100_000)).unwrap();
        std::fs::write(source.join("empty"), "").unwrap();
        for number in 0..20 {
            let bytes = noise(30_000, 10 + number);
            std::fs::write(source.join(number.to_string()), bytes).unwrap();
        }
        Self { folder, program }
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn tool(&self, arguments: &[&str]) -> String {
        must_run(&self.program, &self.path(), arguments)
    }

    fn tool_backs_up(&self) {
        self.tool(&["backup", self.source().to_str().unwrap()]);
    }

    /// `check --read-data`, whatever the program calls it.
    fn tool_checks(&self) {
        self.tool(&["check", "--read-data"]);
    }

    fn store(&self) -> Arc<LocalStore> {
        Arc::new(LocalStore::open(&self.path()).unwrap())
    }

    fn open(&self) -> Repository {
        let (environment, options) = (Environment::quiet(), OpenOptions::default());
        let repository = Repository::open(self.store(), environment, PASSWORD, options).unwrap();
        repository.load_index(&Cancel::new()).unwrap();
        repository
    }

    fn init(&self, version: u32) {
        std::fs::create_dir(self.path()).unwrap();
        let init = InitOptions {
            version,
            ..InitOptions::new(ScryptCost::RANDOM_PASSWORD)
        };
        let (environment, options) = (Environment::quiet(), OpenOptions::default());
        Repository::init(self.store(), environment, PASSWORD, &init, options).unwrap();
    }

    fn back_up(&self) {
        let source = FileTree::new(&[self.source()], FileTreeOptions::default()).unwrap();
        let options = BackupOptions {
            paths: vec![self.source().to_str().unwrap().to_owned()],
            ..backup_options(1_700_000_000)
        };
        backup(&self.open(), &source, &options, &NoObserver, &Cancel::new()).unwrap();
    }

    fn check(&self) {
        let report = check_reading(&self.open(), ReadData::Everything).unwrap();
        assert!(
            report.is_sound() && report.affected.is_empty(),
            "{:?}",
            report.findings
        );
        assert_eq!(report.totals.unreferenced_packs, 0);
        assert_eq!(report.totals.packs_read, report.totals.packs);
    }

    /// Data blobs with each place that they are at.
    fn data_blobs(&self) -> BTreeSet<(Id, Id, u32)> {
        let repository = self.open();
        let index = repository.index();
        let data = index
            .iter()
            .filter(|place| place.blob.handle.kind == BlobKind::Data);
        data.map(|place| (place.blob.handle.id, place.pack_id, place.blob.offset))
            .collect()
    }

    fn with_removal(&self, work: impl FnOnce(&Repository, &Removal<'_>)) {
        let (repository, store) = (self.open(), self.store());
        let lock = ExclusiveLock::acquire(&repository, Duration::ZERO, &Cancel::new()).unwrap();
        let removal = Removal::new(&repository, &*store, &lock).unwrap();
        work(&repository, &removal);
    }
}

/// The programs, each with the versions of the format that it can make.
fn programs() -> Vec<(PathBuf, Vec<Vec<&'static str>>)> {
    let versions = || {
        vec![
            vec!["init", "--repository-version", "1"],
            vec!["init", "--repository-version", "2"],
        ]
    };
    let restics = [tools::restic_014(), tools::restic_019()]
        .into_iter()
        .flatten();
    let mut programs: Vec<_> = restics.map(|program| (program, versions())).collect();
    programs.extend(tools::rustic().map(|program| (program, vec![vec!["init"]])));
    programs
}

/// Backs up by turns, with nothing changed in between.
fn by_turns(place: &Place) {
    let before = place.data_blobs();
    assert!(!before.is_empty());
    place.back_up();
    assert_eq!(place.data_blobs(), before, "outlast stored something again");
    place.tool_backs_up();
    assert_eq!(place.data_blobs(), before, "{:?} did", place.program);
    place.tool_checks();
    place.check();
    std::fs::write(place.source().join("dir/new"), noise(2 << 20, 99)).unwrap();
    place.back_up();
    let after = place.data_blobs();
    assert!(after.is_superset(&before) && after.len() > before.len());
    place.tool_backs_up();
    assert_eq!(
        place.data_blobs(),
        after,
        "what outlast stored was stored again"
    );
    place.tool_checks();
    place.check();
}

#[test]
fn what_others_began_goes_on_in_turns() {
    for (program, inits) in programs() {
        for init in inits {
            let place = Place::new(program.clone());
            place.tool(&init);
            place.tool_backs_up();
            place.check();
            by_turns(&place);
        }
    }
}

#[test]
fn what_outlast_began_goes_on_in_turns() {
    for (program, inits) in programs() {
        for version in 1..=inits.len().max(2) {
            let place = Place::new(program.clone());
            place.init(version as u32);
            place.back_up();
            place.tool_checks();
            by_turns(&place);
        }
    }
}

fn break_pack(place: &Place) -> ObjectName {
    let store = place.store();
    let largest = names(&*store, ObjectKind::Pack)
        .into_iter()
        .max_by_key(|name| outlast_store::Store::size(&*store, name).unwrap())
        .unwrap();
    let id = largest.id().to_hex();
    let path = place.path().join("data").join(&id[..2]).join(&id);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    // Programs make their packs read-only.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    largest
}

#[test]
fn outlast_repairs_what_others_wrote() {
    for (program, inits) in programs() {
        let place = Place::new(program);
        place.tool(&inits[inits.len() - 1]);
        place.tool_backs_up();
        for name in names(&*place.store(), ObjectKind::Index) {
            place.store().delete(&name).unwrap();
        }
        place.with_removal(|repository, removal| {
            let options = RepairIndexOptions::default();
            repair_index(repository, removal, options, &NoProgress, &Cancel::new()).unwrap();
        });
        place.tool_checks();
        place.check();
        let broken = break_pack(&place);
        let report = check_reading(&place.open(), ReadData::Everything).unwrap();
        assert_eq!(report.broken_packs, vec![broken.id()]);
        assert!(!report.affected.is_empty());
        let copies = tempfile::tempdir().unwrap();
        place.with_removal(|repository, removal| {
            let (observer, cancel) = (&NoProgress, Cancel::new());
            let packs = &report.broken_packs;
            repair_packs(repository, removal, packs, copies.path(), observer, &cancel).unwrap();
            let snapshots = repository.load_snapshots(&cancel).unwrap();
            let snapshots: Vec<_> = snapshots
                .into_iter()
                .map(|(id, snapshot)| StoredSnapshot { id, snapshot })
                .collect();
            let originals = RepairOriginals::Forget(removal);
            repair_snapshots(repository, originals, &snapshots, observer, &cancel).unwrap();
        });
        place.tool_checks();
        place.check();
        // A backup of what is still there heals what was lost.
        place.tool_backs_up();
        place.tool_checks();
        place.check();
    }
}

#[test]
fn restic_sees_the_same_damage_and_repairs_what_outlast_wrote() {
    let Some(program) = tools::restic_019() else {
        return;
    };
    let place = Place::new(program);
    place.init(2);
    place.back_up();
    let broken = break_pack(&place).id();
    let output = run(
        &place.program,
        &place.path(),
        &["check", "--read-data", "--json"],
    );
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary: serde_json::Value =
        serde_json::from_str(text.lines().find(|line| line.contains("summary")).unwrap()).unwrap();
    let report = check_reading(&place.open(), ReadData::Everything).unwrap();
    assert_eq!(
        summary["broken_packs"][0].as_str().unwrap(),
        broken.to_hex()
    );
    assert_eq!(report.broken_packs, vec![broken]);
    assert_eq!(summary["num_errors"].as_u64(), Some(report.errors));
    assert_eq!(
        summary["suggest_repair_index"].as_bool(),
        Some(report.suggest_repair_index)
    );
    assert_eq!(
        summary["suggest_prune"].as_bool(),
        Some(report.suggest_prune)
    );
    // It keeps its copy of the pack in the current folder.
    let done = std::process::Command::new(&place.program)
        .current_dir(place.folder.path())
        .args(["--no-cache", "repair", "packs", &broken.to_hex()])
        .env("RESTIC_REPOSITORY", place.path())
        .env("RESTIC_PASSWORD", std::str::from_utf8(PASSWORD).unwrap())
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    place.tool(&["repair", "snapshots", "--forget"]);
    place.check();
    assert!(Path::new(&place.folder.path().join(format!("pack-{broken}"))).exists());
}
