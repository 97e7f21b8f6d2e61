//! What restic and rustic wrote is restored bit for bit, and they restore what outlast wrote.

#![allow(clippy::unwrap_used)]

mod handmade;
#[path = "support/tools.rs"]
mod tools;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use handmade::Seen;
use handmade::compare::{assert_same, assert_same_but, picture};
use handmade::tree::make_tree;
use handmade::tree::set_mtime;
use outlast_format::{ScryptCost, Time};
use outlast_object::Id;
use outlast_repo::{
    BackupOptions, Cancel, ChangeDetection, Environment, InitOptions, NoObserver, OpenOptions,
    Overwrite, Repository, RestoreOptions, RestoreOutcome, RestoreSelection, backup,
    resolve_subfolder, restore,
};
use outlast_source::pattern::PatternList;
use outlast_source::{FileTree, FileTreeOptions};
use outlast_store::LocalStore;

const PASSWORD: &str = "a test password";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_tree(&folder.path().join("source"));
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tool(&self, program: &Path, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .arg("--no-cache")
            .env("RESTIC_REPOSITORY", self.path("repository"))
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RUSTIC_REPOSITORY", self.path("repository"))
            .env("RUSTIC_PASSWORD", PASSWORD)
            .env("HOME", self.folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program:?} {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Restores the only snapshot with outlast.
    fn restore(&self, options: &RestoreOptions) -> RestoreOutcome {
        let store = Arc::new(LocalStore::open(&self.path("repository")).unwrap());
        let environment = Environment::quiet();
        let password = PASSWORD.as_bytes();
        let repository =
            Repository::open(store, environment, password, OpenOptions::default()).unwrap();
        let cancel = Cancel::new();
        repository.load_index(&cancel).unwrap();
        let mut snapshots = repository.load_snapshots(&cancel).unwrap();
        assert_eq!(snapshots.len(), 1);
        let tree: Id = snapshots.remove(0).1.tree;
        let tree = resolve_subfolder(&repository, tree, &self.path("source")).unwrap();
        let seen = Seen::default();
        let outcome = restore(
            &repository,
            tree,
            &self.path("restored"),
            options,
            &seen,
            &cancel,
        )
        .unwrap();
        assert_eq!(seen.errors(), Vec::<String>::new());
        assert_eq!(outcome.errors, 0);
        outcome
    }

    /// What an earlier restore may have left: right, wrong, older, newer and strange things.
    fn prepare(&self, target: &Path) {
        let path = |name: &str| target.join(name);
        fs::create_dir_all(path("dir/sub/stray/deep")).unwrap();
        fs::create_dir_all(path("dir/link")).unwrap();
        fs::write(path("dir/sub/stray/deep/file"), "x").unwrap();
        fs::write(path("dir/sub/small-77-stray"), "x").unwrap();
        let mut big = fs::read(self.path("source/dir/big")).unwrap();
        big[3 << 20] ^= 1;
        fs::write(path("dir/big"), &big).unwrap();
        for (number, seconds) in [(10, 900_000_000), (11, 4_000_000_000), (12, 0)] {
            let name = format!("dir/sub/small-{number}");
            let mut bytes = fs::read(self.path("source").join(&name)).unwrap();
            bytes[0] ^= 1;
            fs::write(path(&name), bytes).unwrap();
            set_mtime(&path(&name), Time::utc(seconds, 0));
        }
        fs::write(
            path("dir/sub/small-13"),
            "longer than it should be".repeat(100),
        )
        .unwrap();
        fs::write(path("empty"), "a file in place of a directory").unwrap();
        std::os::unix::fs::symlink("big", path("dir/nothing")).unwrap();
        set_mtime(&path("dir/nothing"), Time::utc(4_000_000_000, 0));
        set_mtime(&path("dir/link"), Time::utc(900_000_000, 0));
        for name in picture(target).into_keys() {
            let metadata = fs::symlink_metadata(target.join(&name)).unwrap();
            // What has no time of its own yet is of today; both targets must be alike.
            if metadata.mtime() > 1_700_000_000 && metadata.mtime() < 3_900_000_000 {
                set_mtime(&target.join(&name), Time::utc(1_200_000_000, 0));
            }
        }
        // The size and time of the snapshot, but other content.
        let right = fs::metadata(self.path("source/dir/sub/small-12")).unwrap();
        let right = Time::utc(right.mtime(), right.mtime_nsec() as u32);
        set_mtime(&path("dir/sub/small-12"), right);
    }
}

fn verified() -> RestoreOptions {
    RestoreOptions {
        verify: true,
        ..RestoreOptions::default()
    }
}

/// restic 0.14 does not keep the targets of links that are not text.
const LOST_BY_RESTIC_014: &[&str] = &["dir/odd-link"];

fn check_restic(restic: Option<PathBuf>, but: &[&str]) {
    let Some(restic) = restic else { return };
    let place = Place::new();
    place.tool(&restic, &["init"]);
    place.tool(&restic, &["backup", &place.text("source")]);
    place.restore(&verified());
    assert_same_but(&place.path("source"), &place.path("restored"), but);
}

#[test]
fn what_restic_014_wrote_comes_back() {
    check_restic(tools::restic_014(), LOST_BY_RESTIC_014);
}

#[test]
fn what_restic_019_wrote_comes_back() {
    check_restic(tools::restic_019(), &[]);
}

#[test]
fn what_rustic_wrote_comes_back() {
    let Some(rustic) = tools::rustic() else {
        return;
    };
    let place = Place::new();
    place.tool(&rustic, &["init"]);
    place.tool(&rustic, &["backup", &place.text("source")]);
    place.restore(&verified());
    assert_same(&place.path("source"), &place.path("restored"));
}

#[test]
fn restic_restores_what_outlast_wrote() {
    let place = Place::new();
    let store = Arc::new(LocalStore::open(&place.path("repository")).unwrap());
    let init = InitOptions::new(ScryptCost::RANDOM_PASSWORD);
    let (environment, password) = (Environment::quiet(), PASSWORD.as_bytes());
    let repository =
        Repository::init(store, environment, password, &init, OpenOptions::default()).unwrap();
    let source = FileTree::new(&[place.path("source")], FileTreeOptions::default()).unwrap();
    let options = BackupOptions {
        time: Time::utc(1_700_000_000, 0),
        hostname: "here".to_owned(),
        tags: Vec::new(),
        paths: vec![place.text("source")],
        excludes: Vec::new(),
        parent: None,
        detection: ChangeDetection::default(),
        skip_if_unchanged: false,
        dry_run: false,
        read_concurrency: None,
        adopt_packs: false,
        program_version: "outlast".to_owned(),
    };
    backup(&repository, &source, &options, &NoObserver, &Cancel::new()).unwrap();
    drop(repository);
    place.restore(&verified());
    assert_same(&place.path("source"), &place.path("restored"));
    let tools = [
        (tools::restic_014(), LOST_BY_RESTIC_014),
        (tools::restic_019(), &[][..]),
    ];
    for (number, (restic, but)) in tools.into_iter().enumerate() {
        let Some(restic) = restic else { continue };
        place.tool(&restic, &["check", "--read-data"]);
        let target = place.text(&format!("by-restic-{number}"));
        place.tool(&restic, &["restore", "latest", "--target", &target]);
        let source = place.path("source");
        let inside = source.strip_prefix("/").unwrap();
        assert_same_but(&source, &Path::new(&target).join(inside), but);
    }
}

fn number(summary: &str, key: &str) -> u64 {
    let Some((_, rest)) = summary.split_once(&format!("\"{key}\":")) else {
        return 0;
    };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Restores over the same mess with restic and with outlast and compares what is there afterwards,
/// and the numbers of the summary.
#[test]
fn options_do_what_they_do_in_restic() {
    let Some(restic) = tools::restic_019() else {
        return;
    };
    let place = Place::new();
    place.tool(&restic, &["init"]);
    place.tool(&restic, &["backup", &place.text("source")]);
    let snapshot = format!("latest:{}", place.text("source"));
    let patterns = |texts: &[&str], fold_case: bool| {
        let mut list = PatternList::new();
        for text in texts {
            list.push(text.as_bytes(), fold_case).unwrap();
        }
        vec![list]
    };
    let plain = RestoreOptions::default;
    let delete = || RestoreOptions {
        delete: true,
        ..plain()
    };
    let overwrite = |overwrite| RestoreOptions {
        overwrite,
        ..delete()
    };
    let include = |texts: &[&str]| RestoreSelection::Include(patterns(texts, false));
    let exclude = |texts: &[&str]| RestoreSelection::Exclude(patterns(texts, false));
    let select = |selection, options: RestoreOptions| RestoreOptions {
        selection,
        ..options
    };
    let folded = RestoreSelection::Include(patterns(&["SMALL-1?"], true));
    let cases: Vec<(&[&str], RestoreOptions)> = vec![
        (&["--delete"], delete()),
        (
            &["--dry-run"],
            RestoreOptions {
                dry_run: true,
                ..plain()
            },
        ),
        (
            &["--delete", "--overwrite", "if-changed"],
            overwrite(Overwrite::IfChanged),
        ),
        (
            &["--delete", "--overwrite", "if-newer"],
            overwrite(Overwrite::IfNewer),
        ),
        (
            &["--include", "/dir/sub"],
            select(include(&["/dir/sub"]), plain()),
        ),
        (
            &["--include", "small-1*", "--delete"],
            select(include(&["small-1*"]), delete()),
        ),
        (
            &["--include", "small-7*", "--delete"],
            select(include(&["small-7*"]), delete()),
        ),
        (&["--iinclude", "SMALL-1?"], select(folded, plain())),
        (
            &["--include", "**/deep/**", "--include", "zeros"],
            select(include(&["**/deep/**", "zeros"]), plain()),
        ),
        (
            &["--exclude", "sub", "--delete"],
            select(exclude(&["sub"]), delete()),
        ),
        (
            &[
                "--exclude",
                "/dir/sub/small-*",
                "--exclude",
                "!/dir/sub/small-5",
                "--delete",
            ],
            select(
                exclude(&["/dir/sub/small-*", "!/dir/sub/small-5"]),
                delete(),
            ),
        ),
        (
            &["--delete", "--sparse", "--verify"],
            RestoreOptions {
                sparse: true,
                verify: true,
                ..delete()
            },
        ),
        (&["--delete", "--exclude-xattr", "user.t*"], {
            let mut options = delete();
            options
                .metadata
                .excluded_xattrs
                .push(b"user.t*", false)
                .unwrap();
            options
        }),
        (&["--delete", "--include-xattr", "user.t*"], {
            let mut options = delete();
            options
                .metadata
                .included_xattrs
                .push(b"user.t*", false)
                .unwrap();
            options
        }),
    ];
    for (arguments, options) in cases {
        let (theirs, ours) = (place.path("theirs"), place.path("restored"));
        for target in [&theirs, &ours] {
            let _ = fs::remove_dir_all(target);
            place.prepare(target);
        }
        let target = theirs.to_str().unwrap();
        let mut all = vec!["restore", &snapshot, "--target", target, "--json"];
        all.extend(arguments);
        let output = place.tool(&restic, &all);
        let summary = output
            .lines()
            .find(|line| line.contains("\"summary\""))
            .unwrap();
        let outcome = place.restore(&options);
        assert_same(&theirs, &ours);
        let expected = [
            "total_files",
            "files_restored",
            "files_skipped",
            "files_deleted",
            "total_bytes",
            "bytes_restored",
            "bytes_skipped",
        ]
        .map(|key| number(summary, key));
        let found = [
            outcome.files_total,
            outcome.files_restored,
            outcome.files_skipped,
            outcome.files_deleted,
            outcome.bytes_total,
            outcome.bytes_restored,
            outcome.bytes_skipped,
        ];
        assert_eq!(expected, found, "{arguments:?}");
    }
}
