//! The verbs that count, copy and rewrite, side by side with restic.

#![allow(clippy::unwrap_used)]

mod support;
mod upkeep;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use outlast_format::{ScryptCost, Time};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_repo::{
    Cancel, CopyOutcome, LockGuard, LockMode, NewKey, NoProgress, OpenOptions, Originals,
    RepoError, Repository, RewriteOptions, RewriteOutcome, StatsMode, TagChange, TreeFilter,
    Unlock,
};
use outlast_source::pattern::PatternList;
use outlast_store::{LocalStore, MemoryStore, Store};
use support::{MemorySource, PASSWORD, noise};
use upkeep::{
    back_up, content_of, environment, ids, init, open, restic, restic_must, restics_agree,
    snapshots, with_removal,
};

fn local(path: &Path) -> Arc<LocalStore> {
    Arc::new(LocalStore::open(path).unwrap())
}

/// A repository made by restic, with two snapshots of a tree; `None` where restic is missing.
fn made_by_restic(folder: &Path) -> Option<PathBuf> {
    let path = folder.join("repository");
    let tree = folder.join("tree");
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    std::fs::create_dir_all(tree.join("empty")).unwrap();
    std::fs::write(tree.join("a/big"), noise(4 << 20, 5)).unwrap();
    std::fs::write(tree.join("a/same"), noise(4 << 20, 5)).unwrap();
    std::fs::write(tree.join("a/b/text"), "hello\n".repeat(5000)).unwrap();
    std::fs::write(tree.join("a/nothing"), "").unwrap();
    std::fs::hard_link(tree.join("a/big"), tree.join("a/b/hard")).unwrap();
    std::os::unix::fs::symlink("a/big", tree.join("link")).unwrap();
    restic_must(&path, &["init"])?;
    let tree_text = tree.to_str().unwrap();
    restic_must(&path, &["backup", "--tag", "one,two", tree_text])?;
    std::fs::write(tree.join("a/b/text"), "other\n".repeat(9000)).unwrap();
    std::fs::write(tree.join("a/more"), noise(1 << 20, 6)).unwrap();
    restic_must(&path, &["backup", "--tag", "two", tree_text])?;
    Some(path)
}

/// A copy of a repository, to try the same twice.
fn duplicate(path: &Path, to: &Path) -> PathBuf {
    let status = Command::new("cp").arg("-r").arg(path).arg(to).status();
    assert!(status.unwrap().success());
    to.to_owned()
}

fn json(text: &str) -> serde_json::Value {
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap()).unwrap()
}

#[test]
fn figures_are_restics() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = made_by_restic(folder.path()) else {
        return;
    };
    let repository = open(local(&path));
    let all = snapshots(&repository);
    for mode in [
        "restore-size",
        "files-by-contents",
        "blobs-per-file",
        "raw-data",
    ] {
        let theirs = restic_must(&path, &["stats", "--json", "--mode", mode]).unwrap();
        let mode: StatsMode = mode.parse().unwrap();
        let ours =
            outlast_repo::stats(&repository, &all, mode, &NoProgress, &Cancel::new()).unwrap();
        let ours = serde_json::to_string(&ours).unwrap();
        assert_eq!(json(&ours), json(&theirs), "{mode:?}");
    }
    assert!("debug".parse::<StatsMode>().is_err());
}

#[test]
fn lists_and_documents_are_restics() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = made_by_restic(folder.path()) else {
        return;
    };
    let repository = open(local(&path));
    let cat = |arguments: &[&str]| -> serde_json::Value {
        let arguments: Vec<&str> = ["cat"].iter().chain(arguments).copied().collect();
        serde_json::from_str(&restic_must(&path, &arguments).unwrap()).unwrap()
    };
    let same = |ours: &[u8], theirs: serde_json::Value| {
        let ours: serde_json::Value = serde_json::from_slice(ours).unwrap();
        assert_eq!(ours, theirs);
    };
    same(
        &outlast_repo::cat_config(&repository).unwrap(),
        cat(&["config"]),
    );
    same(
        &outlast_repo::cat_master_key(&repository).unwrap(),
        cat(&["masterkey"]),
    );
    let all = snapshots(&repository);
    let id = all[0].id;
    same(
        &outlast_repo::cat_snapshot(&repository, id).unwrap(),
        cat(&["snapshot", &id.to_hex()]),
    );
    let key = repository.key_id();
    same(
        &outlast_repo::cat_key(&repository, key).unwrap(),
        cat(&["key", &key.to_hex()]),
    );
    let index = ids(&*local(&path), ObjectKind::Index)[0];
    same(
        &outlast_repo::cat_index(&repository, index).unwrap(),
        cat(&["index", &index.to_hex()]),
    );
    let sorted = |text: &str| -> Vec<String> {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let mut blobs = Vec::new();
    outlast_repo::list_blobs(&repository, &mut |handle| {
        blobs.push(format!("{} {}", handle.kind, handle.id));
    });
    blobs.sort();
    assert_eq!(
        blobs,
        sorted(&restic_must(&path, &["list", "blobs"]).unwrap())
    );
    let packs = outlast_repo::list_packs_of(&repository, &all[0], &Cancel::new()).unwrap();
    let packs: Vec<String> = packs.iter().map(Id::to_hex).collect();
    if let Some(output) = restic(&path, &["list", "packs", &id.to_hex()])
        && output.status.success()
    {
        assert_eq!(packs, sorted(&String::from_utf8(output.stdout).unwrap()));
    }
    let tree = outlast_repo::cat_blob(&repository, all[0].snapshot.tree).unwrap();
    let tree_id = all[0].snapshot.tree.to_hex();
    assert_eq!(
        tree,
        restic_must(&path, &["cat", "blob", &tree_id])
            .unwrap()
            .as_bytes()
    );
}

fn copy_all(from: &Repository, to: &Repository) -> CopyOutcome {
    let all = snapshots(from);
    outlast_repo::copy(from, to, &all, &NoProgress, &Cancel::new()).unwrap()
}

#[test]
fn copies_hold_the_same_and_are_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = made_by_restic(folder.path()) else {
        return;
    };
    let target = folder.path().join("target");
    let from = open(local(&path));
    let to = init(local(&target));
    let first = copy_all(&from, &to);
    assert_eq!(
        (first.copied.len(), first.skipped.len(), first.failed.len()),
        (2, 0, 0)
    );
    for (old, new) in &first.copied {
        let old = from.load_snapshot(*old).unwrap();
        let new = to.load_snapshot(*new).unwrap();
        assert_eq!(content_of(&from, old.tree), content_of(&to, new.tree));
        assert_eq!(
            (old.tree, old.tags, old.time),
            (new.tree, new.tags, new.time)
        );
        assert_eq!(new.parent, None);
    }
    restics_agree(&target);
    let again = copy_all(&from, &open(local(&target)));
    assert_eq!((again.copied.len(), again.skipped.len()), (0, 2));
    // restic sees that they were copied, and adds nothing.
    let text = restic_must(
        &target,
        &["copy", "--from-repo", path.to_str().unwrap(), "-v"],
    );
    assert!(text.unwrap().contains("was already copied"));
    assert_eq!(snapshots(&open(local(&target))).len(), 2);
    // And the reverse.
    let theirs = folder.path().join("theirs");
    restic_must(&theirs, &["init"]);
    restic_must(&theirs, &["copy", "--from-repo", path.to_str().unwrap()]);
    let again = copy_all(&from, &open(local(&theirs)));
    assert_eq!((again.copied.len(), again.skipped.len()), (0, 2));
    // Copies of copies are known by the first of them.
    let back = copy_all(&open(local(&target)), &from);
    assert_eq!((back.copied.len(), back.skipped.len()), (0, 2));
}

#[test]
fn a_damaged_snapshot_is_not_copied_and_the_others_are() {
    let store = Arc::new(MemoryStore::new());
    let from = init(store.clone());
    let good = MemorySource::default().with("/shared/a", noise(9000, 1), 1);
    let bad = good.clone().with("/bad", noise(9000, 2), 1);
    back_up(&from, &good, 1_700_000_000);
    let hurt = back_up(&from, &bad, 1_700_000_100);
    // The pack that only the second one needs.
    let node = outlast_repo::find_entry(
        &from,
        from.load_snapshot(hurt).unwrap().tree,
        Path::new("/bad"),
    );
    let blob = node.unwrap().unwrap().content.unwrap()[0];
    let place = from
        .index()
        .find(outlast_format::BlobHandle::data(blob))
        .next()
        .unwrap();
    let name = ObjectName::pack(place.pack_id);
    let mut bytes = store.read(&name).unwrap();
    bytes[place.blob.offset as usize + 40] ^= 1;
    store.replace(&name, bytes);
    let target = Arc::new(MemoryStore::new());
    let to = init(target.clone());
    let outcome = copy_all(&from, &to);
    assert_eq!(outcome.copied.len(), 1);
    assert_eq!(outcome.failed.len(), 1);
    assert_eq!(outcome.failed[0].0, hurt);
    assert!(matches!(outcome.failed[0].1, RepoError::BlobDamaged { .. }));
    upkeep::all_content(target);
}

fn rewrite_all(path: &Path, options: &RewriteOptions) -> RewriteOutcome {
    let repository = open(local(path));
    let all = snapshots(&repository);
    let store = local(path);
    with_removal(&repository, &*store, |removal| {
        let originals = Originals::Remove(removal);
        outlast_repo::rewrite(
            &repository,
            originals,
            &all,
            options,
            &NoProgress,
            &Cancel::new(),
        )
    })
    .unwrap()
}

/// What is comparable of all snapshots: all but ids and originals.
fn comparable(path: &Path) -> Vec<serde_json::Value> {
    let repository = open(local(path));
    let mut all: Vec<_> = snapshots(&repository)
        .iter()
        .map(|stored| {
            let json = stored.snapshot.to_json().unwrap();
            serde_json::from_slice::<serde_json::Value>(&json).unwrap()
        })
        .collect();
    all.sort_by_key(|snapshot| snapshot["time"].to_string() + &snapshot["tree"].to_string());
    all
}

fn list(pattern: &str, fold_case: bool) -> PatternList {
    let mut list = PatternList::new();
    list.push(pattern.as_bytes(), fold_case).unwrap();
    list
}

#[test]
fn rewriting_does_what_restic_does() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = made_by_restic(folder.path()) else {
        return;
    };
    let exclude = |lists| RewriteOptions {
        filter: Some(TreeFilter::Exclude(lists)),
        ..RewriteOptions::default()
    };
    let include = |lists| RewriteOptions {
        filter: Some(TreeFilter::Include(lists)),
        ..RewriteOptions::default()
    };
    let renamed = RewriteOptions {
        hostname: Some("elsewhere".to_owned()),
        time: Some(Time::utc(1_600_000_000, 0)),
        ..RewriteOptions::default()
    };
    let summary = RewriteOptions {
        summary: true,
        ..RewriteOptions::default()
    };
    let cases: [(&str, RewriteOptions, &[&str]); 6] = [
        (
            "exclude",
            exclude(vec![list("*/b/text", false)]),
            &["--exclude", "*/b/text"],
        ),
        (
            "iexclude",
            exclude(vec![list("BIG", true)]),
            &["--iexclude", "BIG"],
        ),
        (
            "nothing",
            exclude(vec![list("nowhere", false)]),
            &["--exclude", "nowhere"],
        ),
        (
            "include",
            include(vec![list("text", false)]),
            &["--include", "text"],
        ),
        (
            "renamed",
            renamed,
            &[
                "--new-host",
                "elsewhere",
                "--new-time",
                "2020-09-13 12:26:40",
            ],
        ),
        ("summary", summary, &["--snapshot-summary"]),
    ];
    for (name, options, arguments) in cases {
        let ours = duplicate(&path, &folder.path().join(format!("{name}-ours")));
        let theirs = duplicate(&path, &folder.path().join(format!("{name}-theirs")));
        let arguments: Vec<&str> = ["rewrite", "--forget"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        restic_must(&theirs, &arguments);
        let outcome = rewrite_all(&ours, &options);
        assert!(outcome.failed.is_empty(), "{name}: {outcome:?}");
        assert_eq!(comparable(&ours), comparable(&theirs), "{name}");
        restics_agree(&ours);
    }
}

#[test]
fn rewriting_keeps_the_old_ones_unless_asked_and_a_dry_run_changes_nothing() {
    let store = Arc::new(MemoryStore::new());
    let repository = init(store.clone());
    let source = MemorySource::default()
        .with("/a/x", "x", 1)
        .with("/b", "y", 1);
    let old = back_up(&repository, &source, 1_700_000_000);
    let all = snapshots(&repository);
    let mut options = RewriteOptions {
        filter: Some(TreeFilter::Exclude(vec![list("/a", false)])),
        dry_run: true,
        ..RewriteOptions::default()
    };
    let before = store.contents();
    let run = |options: &RewriteOptions| {
        let keep = Originals::Keep;
        outlast_repo::rewrite(
            &repository,
            keep,
            &all,
            options,
            &NoProgress,
            &Cancel::new(),
        )
        .unwrap()
    };
    assert_eq!(run(&options).changed, [(old, None)]);
    assert!(store.contents() == before);
    options.dry_run = false;
    let new = run(&options).changed[0].1.unwrap();
    let rewritten = repository.load_snapshot(new).unwrap();
    assert_eq!(rewritten.original, Some(old));
    assert_eq!(rewritten.tags, ["rewrite"]);
    assert!(repository.load_snapshot(old).is_ok());
    let content = content_of(&repository, rewritten.tree);
    assert_eq!(content.keys().collect::<Vec<_>>(), ["/b"]);
}

#[test]
fn a_tree_that_says_more_than_we_understand_is_not_rewritten() {
    let store = Arc::new(MemoryStore::new());
    let repository = init(store.clone());
    let id = back_up(
        &repository,
        &MemorySource::default().with("/f", "x", 1),
        1_700_000_000,
    );
    let mut snapshot = repository.load_snapshot(id).unwrap();
    let plain = outlast_repo::cat_blob(&repository, snapshot.tree).unwrap();
    let text = String::from_utf8(plain).unwrap();
    let odd = text.replace("\"name\":\"f\"", "\"name\":\"f\",\"colour\":\"red\"");
    let kind = outlast_format::BlobKind::Tree;
    let options = outlast_repo::SaverOptions::default();
    let cancel = Cancel::new();
    let (saved, _) = outlast_repo::with_saver(&repository, options, &cancel, |saver| {
        saver.save(kind, odd.as_bytes(), None)
    })
    .unwrap();
    snapshot.tree = saved.id;
    let id = repository.save_snapshot(&snapshot).unwrap();
    let mut all = snapshots(&repository);
    all.retain(|stored| stored.id == id);
    let options = RewriteOptions {
        filter: Some(TreeFilter::Exclude(vec![list("nothing", false)])),
        ..RewriteOptions::default()
    };
    let keep = Originals::Keep;
    let outcome =
        outlast_repo::rewrite(&repository, keep, &all, &options, &NoProgress, &cancel).unwrap();
    assert!(
        outcome.failed[0]
            .1
            .to_string()
            .contains("without losing information")
    );
    // Pruning, which need not write it, keeps it.
    upkeep::prune(&repository, &*store, &outlast_repo::PruneOptions::default()).unwrap();
    assert!(outlast_repo::cat_blob(&open(store), saved.id).is_ok());
}

#[test]
fn tagging_does_what_restic_does() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = made_by_restic(folder.path()) else {
        return;
    };
    let theirs = duplicate(&path, &folder.path().join("theirs"));
    for arguments in [
        &["tag", "--add", "three", "--remove", "one"][..],
        &["tag", "--add", "two"],
        &["tag", "--set", "x,y"],
    ] {
        restic_must(&theirs, arguments);
    }
    let words = |text: &str| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
    let changes = [
        TagChange::Edit {
            add: words("three"),
            remove: words("one"),
        },
        TagChange::Edit {
            add: words("two"),
            remove: Vec::new(),
        },
        TagChange::Set(words("x,y")),
    ];
    for change in changes {
        let repository = open(local(&path));
        let all = snapshots(&repository);
        let store = local(&path);
        let cancel = Cancel::new();
        with_removal(&repository, &*store, |removal| {
            outlast_repo::change_tags(&repository, removal, &all, &change, &mut |_, _| {}, &cancel)
        })
        .unwrap();
    }
    assert_eq!(comparable(&path), comparable(&theirs));
    restics_agree(&path);
}

#[test]
fn passwords_change_and_the_old_one_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let store = local(&path);
    let repository = init(store.clone());
    back_up(
        &repository,
        &MemorySource::default().with("/f", "x", 1),
        1_700_000_000,
    );
    let new = NewKey {
        password: b"another password",
        cost: ScryptCost::RANDOM_PASSWORD,
        username: "user",
        hostname: "host",
    };
    let own = repository.key_id();
    with_removal(&repository, &*store, |removal| {
        let refused = outlast_repo::remove_key(&repository, removal, own);
        assert!(matches!(refused, Err(RepoError::Refused(_))));
        let absent = outlast_repo::remove_key(&repository, removal, hash(b"nothing"));
        assert!(matches!(absent, Err(RepoError::Selection(_))));
        outlast_repo::change_password(&repository, removal, &new)
    })
    .unwrap();
    let open_with = |password: &[u8]| {
        Repository::open(
            store.clone(),
            environment(),
            password,
            OpenOptions::default(),
        )
    };
    assert!(matches!(
        open_with(PASSWORD),
        Err(RepoError::WrongPassword { .. })
    ));
    let repository = open_with(b"another password").unwrap();
    assert_eq!(ids(&*store, ObjectKind::Key).len(), 1);
    // A second key can be removed by whoever opened with the first.
    let other = NewKey {
        password: PASSWORD,
        ..new
    };
    let added = outlast_repo::add_verified_key(&repository, &other).unwrap();
    restics_agree(&path);
    let found = outlast_repo::find_key(&repository, &added.to_hex()[..10]).unwrap();
    with_removal(&repository, &*store, |removal| {
        outlast_repo::remove_key(&repository, removal, found)
    })
    .unwrap();
    assert!(open_with(PASSWORD).is_err());
    assert!(outlast_repo::find_key(&repository, "").is_err());
}

#[test]
fn junk_among_the_locks_goes_where_restic_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let store = local(&path);
    let repository = init(store.clone());
    let junk = noise(200, 4);
    let name = ObjectName::new(ObjectKind::Lock, hash(&junk));
    store.write(&name, &junk).unwrap();
    if restic(&path, &["unlock"]).is_some() {
        // Whatever restic says of it, it is still there.
        assert!(store.exists(&name).unwrap());
    }
    let outcome = outlast_repo::unlock(&repository, Unlock::Stale).unwrap();
    assert_eq!(outcome.removed, [hash(&junk)]);
    assert!(!store.exists(&name).unwrap());

    let cancel = Cancel::new();
    let guard = LockGuard::acquire(&repository, LockMode::Shared, Duration::ZERO, &cancel).unwrap();
    let outcome = outlast_repo::unlock(&repository, Unlock::Stale).unwrap();
    assert_eq!((outcome.removed.len(), outcome.kept.len()), (0, 1));
    let outcome = outlast_repo::unlock(&repository, Unlock::All).unwrap();
    assert_eq!(outcome.removed.len(), 1);
    drop(guard);
    assert!(ids(&*store, ObjectKind::Lock).is_empty());
}
