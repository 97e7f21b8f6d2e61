//! Restoring: round trips, what is there already, windows, and refusals.

#![allow(clippy::unwrap_used)]

mod handmade;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use handmade::compare::{assert_same, picture};
use handmade::tree::{make_tree, noise, set_mtime};
use handmade::{Handmade, Seen, back_up, directory, file, symlink};
use outlast_format::Time;
use outlast_object::Id;
use outlast_repo::{
    Cancel, Overwrite, RepoError, RestoreAction, RestoreOptions, RestoreOutcome, RestoreSelection,
    restore,
};
use outlast_source::pattern::PatternList;

struct Backed {
    repo: Handmade,
    tree: Id,
    folder: tempfile::TempDir,
}

impl Backed {
    /// Backs up a directory with one of everything, such that its entries are at the top.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        make_tree(&source);
        let repo = Handmade::new();
        let tree = back_up(&repo, &source);
        Self { repo, tree, folder }
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    fn restore(&self, options: &RestoreOptions) -> (RestoreOutcome, Arc<Seen>) {
        run(&self.repo, self.tree, &self.target(), options).unwrap()
    }
}

fn run(
    repo: &Handmade,
    tree: Id,
    target: &Path,
    options: &RestoreOptions,
) -> Result<(RestoreOutcome, Arc<Seen>), RepoError> {
    let seen = Arc::new(Seen::default());
    let cancel = Cancel::new();
    let outcome = restore(&repo.repository, tree, target, options, &*seen, &cancel)?;
    Ok((outcome, seen))
}

fn patterns(list: &[&str]) -> Vec<PatternList> {
    let mut patterns = PatternList::new();
    for pattern in list {
        patterns.push(pattern.as_bytes(), false).unwrap();
    }
    vec![patterns]
}

#[test]
fn everything_comes_back_as_it_was() {
    let backed = Backed::new();
    for sparse in [false, true] {
        let options = RestoreOptions {
            sparse,
            verify: true,
            ..RestoreOptions::default()
        };
        let (outcome, seen) = backed.restore(&options);
        assert_eq!(seen.errors(), Vec::<String>::new());
        assert_same(&backed.source(), &backed.target());
        assert_eq!(outcome.files_restored, outcome.files_total);
        assert_eq!(outcome.bytes_restored, outcome.bytes_total);
        assert_eq!(
            outcome.files_total as usize,
            picture(&backed.source()).len()
        );
        assert!(outcome.files_verified > 200);
        let blocks = |name: &str| fs::metadata(backed.target().join(name)).unwrap().blocks();
        if sparse {
            assert!(blocks("dir/zeros") < 1000, "{}", blocks("dir/zeros"));
        }
        fs::remove_dir_all(backed.target()).unwrap();
    }
}

#[test]
fn a_second_restore_changes_nothing_and_damage_on_disk_is_mended() {
    let backed = Backed::new();
    let options = RestoreOptions::default();
    let (first, _) = backed.restore(&options);
    let (second, seen) = backed.restore(&options);
    assert_eq!(second.bytes_restored, 0);
    assert!(second.files_skipped > 200);
    assert_eq!(seen.errors(), Vec::<String>::new());
    assert_same(&backed.source(), &backed.target());

    let target = backed.target();
    let mut big = fs::read(target.join("dir/big")).unwrap();
    big[5 << 20] ^= 1;
    fs::write(target.join("dir/big"), &big).unwrap();
    fs::write(
        target.join("dir/sub/small-7"),
        "something longer than before".repeat(100),
    )
    .unwrap();
    fs::remove_file(target.join("dir/sub/small-8")).unwrap();
    fs::remove_file(target.join("dir/link")).unwrap();
    fs::write(target.join("dir/link"), "a file in place of the link").unwrap();
    fs::remove_dir(target.join("empty")).unwrap();
    fs::write(target.join("empty"), "a file in place of the directory").unwrap();
    let (third, seen) = backed.restore(&options);
    assert_eq!(seen.errors(), Vec::<String>::new());
    assert!(third.bytes_restored < first.bytes_restored * 2);
    assert_same(&backed.source(), &backed.target());
    assert!(
        seen.done()
            .contains(&("/dir/big".into(), RestoreAction::FileUpdated))
    );
    assert!(
        seen.done()
            .contains(&("/dir/sub/small-8".into(), RestoreAction::FileRestored))
    );
}

#[test]
fn a_file_with_names_elsewhere_is_not_changed_through_them() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Handmade::new();
    let (a, b) = (noise(600_000, 1), noise(600_000, 2));
    let ids = repo.blobs(&[a.clone(), b.clone()]);
    let tree = repo.tree(&[file("f", &ids, 1_200_000)]);
    let target = folder.path().join("target");
    fs::create_dir(&target).unwrap();
    // The first half is right; the file has another name outside of the target.
    let there = [a.clone(), vec![7; 600_000]].concat();
    fs::write(target.join("f"), &there).unwrap();
    fs::hard_link(target.join("f"), folder.path().join("other")).unwrap();
    let (_, seen) = run(&repo, tree, &target, &RestoreOptions::default()).unwrap();
    assert_eq!(seen.errors(), Vec::<String>::new());
    assert!(fs::read(target.join("f")).unwrap() == [a, b].concat());
    assert!(fs::read(folder.path().join("other")).unwrap() == there);
}

#[test]
fn overwrite_rules_hold() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Handmade::new();
    let new = repo.data(b"new!");
    let time = Time::utc(1_600_000_000, 123_456_789);
    let mut link = symlink("link", "to");
    link.mtime = time;
    let tree = repo.tree(&[file("f", &[new], 4), link]);
    let try_it = |overwrite, mtime: Time| {
        let target = folder.path().join("target");
        let _ = fs::remove_dir_all(&target);
        fs::create_dir(&target).unwrap();
        fs::write(target.join("f"), "old!").unwrap();
        set_mtime(&target.join("f"), mtime);
        let options = RestoreOptions {
            overwrite,
            ..RestoreOptions::default()
        };
        let (_, seen) = run(&repo, tree, &target, &options).unwrap();
        assert_eq!(seen.errors(), Vec::<String>::new());
        fs::read_to_string(target.join("f")).unwrap()
    };
    let (before, after) = (Time::utc(1_500_000_000, 0), Time::utc(1_700_000_000, 0));
    for (overwrite, mtime, expected) in [
        (Overwrite::Always, after, "new!"),
        (Overwrite::Always, time, "new!"),
        (Overwrite::IfChanged, time, "old!"),
        (Overwrite::IfChanged, before, "new!"),
        (Overwrite::IfNewer, before, "new!"),
        (Overwrite::IfNewer, time, "old!"),
        (Overwrite::IfNewer, after, "old!"),
        (Overwrite::Never, before, "old!"),
    ] {
        assert_eq!(try_it(overwrite, mtime), expected, "{overwrite:?} {mtime}");
    }
    assert!("sometimes".parse::<Overwrite>().is_err());
    assert_eq!("if-newer".parse(), Ok(Overwrite::IfNewer));
}

#[test]
fn selections_and_deletions() {
    let backed = Backed::new();
    let names = |options: &RestoreOptions| {
        let _ = fs::remove_dir_all(backed.target());
        let (_, seen) = backed.restore(options);
        assert_eq!(seen.errors(), Vec::<String>::new());
        picture(&backed.target())
    };
    let all = picture(&backed.source());
    let excluded = names(&RestoreOptions {
        selection: RestoreSelection::Exclude(patterns(&["small-*", "/dir/sub/deep"])),
        ..RestoreOptions::default()
    });
    let mut expected: Vec<_> = all.keys().cloned().collect();
    expected.retain(|path| {
        let text = path.to_string_lossy();
        !text.contains("small-") && !text.contains("sub/deep")
    });
    assert_eq!(excluded.keys().cloned().collect::<Vec<_>>(), expected);

    let options = RestoreOptions {
        selection: RestoreSelection::Include(patterns(&["/dir/sub/small-1*"])),
        delete: true,
        ..RestoreOptions::default()
    };
    let included = names(&options);
    assert_eq!(included.len(), 2 + 111);
    // Directories on the way have their metadata, too.
    assert_eq!(included[Path::new("dir/sub")], all[Path::new("dir/sub")]);

    // What is not selected is not removed; what is not in the snapshot is.
    let target = backed.target();
    fs::write(target.join("dir/sub/small-1-stray"), "x").unwrap();
    fs::write(target.join("dir/sub/other"), "x").unwrap();
    fs::create_dir_all(target.join("dir/sub/small-1000/with/more")).unwrap();
    let dry = RestoreOptions {
        dry_run: true,
        ..options.clone()
    };
    let (outcome, _) = backed.restore(&dry);
    assert_eq!(outcome.files_deleted, 4);
    assert!(target.join("dir/sub/small-1-stray").exists());
    let (outcome, seen) = backed.restore(&options);
    assert_eq!(outcome.files_deleted, 4);
    assert_eq!(seen.errors(), Vec::<String>::new());
    assert!(target.join("dir/sub/other").exists());
    assert!(!target.join("dir/sub/small-1-stray").exists());
    assert!(!target.join("dir/sub/small-1000").exists());

    let everything = RestoreOptions {
        delete: true,
        ..RestoreOptions::default()
    };
    backed.restore(&everything);
    assert_same(&backed.source(), &backed.target());
    let root = Path::new("/");
    let refused = run(&backed.repo, backed.tree, root, &everything);
    assert!(matches!(refused, Err(RepoError::Refused(_))));
}

#[test]
fn a_dry_run_touches_nothing() {
    let backed = Backed::new();
    let options = RestoreOptions {
        dry_run: true,
        ..RestoreOptions::default()
    };
    let (dry, _) = backed.restore(&options);
    assert!(!backed.target().exists());
    let (wet, _) = backed.restore(&RestoreOptions::default());
    assert_eq!(
        (dry.files_total, dry.bytes_total),
        (wet.files_total, wet.bytes_total)
    );
    assert_eq!(
        (dry.files_restored, dry.bytes_restored),
        (wet.files_restored, wet.bytes_restored)
    );
    fs::write(backed.target().join("dir/big"), "x").unwrap();
    let before = picture(&backed.target());
    let (_, seen) = backed.restore(&options);
    assert!(
        seen.done()
            .contains(&("/dir/big".into(), RestoreAction::FileUpdated))
    );
    assert_eq!(picture(&backed.target()), before);
    let verify = RestoreOptions {
        verify: true,
        ..options
    };
    let refused = run(&backed.repo, backed.tree, &backed.target(), &verify);
    assert!(matches!(refused, Err(RepoError::Refused(_))));
}

#[test]
fn a_directory_with_entries_gives_way_only_to_delete() {
    let folder = tempfile::tempdir().unwrap();
    let repo = Handmade::new();
    let blob = repo.data(b"content");
    let tree = repo.tree(&[file("f", &[blob], 7), symlink("l", "x")]);
    for name in ["f", "l"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("precious"), "x").unwrap();
    }
    let (outcome, _) = run(&repo, tree, folder.path(), &RestoreOptions::default()).unwrap();
    assert_eq!(outcome.errors, 2);
    assert!(folder.path().join("f/precious").exists());
    assert!(folder.path().join("l/precious").exists());
    let options = RestoreOptions {
        delete: true,
        ..RestoreOptions::default()
    };
    let (outcome, _) = run(&repo, tree, folder.path(), &options).unwrap();
    assert_eq!(outcome.errors, 0);
    assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"content");
}

#[test]
fn windows_of_any_fill_give_the_same() {
    // One more entry, and one more blob, than a window holds; and a file across three windows.
    let folder = tempfile::tempdir().unwrap();
    let repo = Handmade::new();
    let pieces: Vec<Vec<u8>> = (0..50).map(|seed| noise(3, seed)).collect();
    let ids = repo.blobs(&pieces);
    let blobs: Vec<Id> = (0..300_000).map(|number| ids[number * 7 % 50]).collect();
    let content: Vec<u8> = (0..300_000)
        .flat_map(|number| pieces[number * 7 % 50].clone())
        .collect();
    let small: Vec<_> = (0..16_500)
        .map(|number| file(&format!("{number:05}"), &ids[number % 50..=number % 50], 3))
        .collect();
    let many = repo.tree(&small);
    let root = repo.tree(&[
        file("a", &blobs, 900_000),
        directory("d", many),
        file("z", &blobs, 900_000),
    ]);
    let (outcome, seen) = run(&repo, root, folder.path(), &RestoreOptions::default()).unwrap();
    assert_eq!(seen.errors(), Vec::<String>::new());
    assert_eq!(outcome.files_restored, 16_503);
    assert!(fs::read(folder.path().join("a")).unwrap() == content);
    assert!(fs::read(folder.path().join("z")).unwrap() == content);
    for number in [0, 49, 16_383, 16_384, 16_499] {
        let bytes = fs::read(folder.path().join(format!("d/{number:05}"))).unwrap();
        assert_eq!(bytes, pieces[number % 50]);
    }
    let mtime = fs::metadata(folder.path().join("d")).unwrap().mtime();
    assert_eq!(mtime, 1_500_000_000);
}

#[test]
fn malicious_trees_write_nothing_outside() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "precious").unwrap();
    let repo = Handmade::new();
    let blob = repo.data(b"evil");
    let evil = |name: &str| file(name, &[blob], 4);
    let inner = repo.tree(&[evil("file")]);
    let outside_text = outside.to_str().unwrap();
    let trees = [
        repo.odd_tree(&[evil("../outside/file")]),
        repo.odd_tree(&[evil(&format!("{outside_text}/file"))]),
        repo.odd_tree(&[evil("a\0b")]),
        repo.odd_tree(&[evil("")]),
        repo.odd_tree(&[evil(".")]),
        repo.odd_tree(&[evil("..")]),
        repo.odd_tree(&[directory("..", inner)]),
        repo.odd_tree(&[directory("../outside", inner)]),
        // A link, and then a directory or a file of the same name.
        repo.odd_tree(&[symlink("link", outside_text), directory("link", inner)]),
        repo.odd_tree(&[symlink("link", "../outside/file"), evil("link")]),
        // The other way round, as an order that a reader might accept.
        repo.odd_tree(&[directory("link", inner), symlink("link", outside_text)]),
    ];
    for (number, tree) in trees.into_iter().enumerate() {
        for delete in [false, true] {
            let target = folder.path().join(format!("target-{number}"));
            let options = RestoreOptions {
                delete,
                ..RestoreOptions::default()
            };
            let (outcome, seen) = run(&repo, tree, &target, &options).unwrap();
            assert!(outcome.errors > 0, "{number}: {:?}", seen.done());
            let mut names = fs::read_dir(&outside).unwrap();
            assert_eq!(names.next().unwrap().unwrap().file_name(), "file");
            assert!(names.next().is_none());
            assert_eq!(fs::read(outside.join("file")).unwrap(), b"precious");
        }
    }
    // A link that is there already, made by somebody else.
    let target = folder.path().join("prepared");
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::symlink(&outside, target.join("link")).unwrap();
    let tree = repo.tree(&[directory("link", inner)]);
    let (outcome, _) = run(&repo, tree, &target, &RestoreOptions::default()).unwrap();
    assert_eq!(outcome.errors, 0);
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"precious");
    assert_eq!(fs::read(target.join("link/file")).unwrap(), b"evil");
}

#[test]
fn attributes_can_be_chosen_and_strange_ones_go() {
    let backed = Backed::new();
    let mut options = RestoreOptions::default();
    options
        .metadata
        .excluded_xattrs
        .push(b"user.t*", false)
        .unwrap();
    let (_, seen) = backed.restore(&options);
    assert_eq!(seen.errors(), Vec::<String>::new());
    let text = picture(&backed.target())[Path::new("dir/big")].clone();
    assert!(!text.contains("user.two"));
    if !picture(&backed.source())[Path::new("dir/big")].contains("user.one") {
        return;
    }
    assert!(text.contains("user.one"));
    let path = backed.target().join("dir/big");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&path, "user.stray", b"x", flags).unwrap();
    backed.restore(&RestoreOptions::default());
    assert_same(&backed.source(), &backed.target());
}

#[test]
fn a_request_to_stop_is_heard() {
    let backed = Backed::new();
    let cancel = Cancel::new();
    cancel.cancel();
    let seen = Seen::default();
    let options = RestoreOptions::default();
    let repository = &backed.repo.repository;
    let result = restore(
        repository,
        backed.tree,
        &backed.target(),
        &options,
        &seen,
        &cancel,
    );
    assert!(matches!(result, Err(RepoError::Cancelled)));
}
