//! What restic and outlast take into a snapshot for the same excludes and targets.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use outlast_repo::{Cancel, NoObserver, backup};
use outlast_source::{Excludes, FileTree, FileTreeOptions, Source};
use outlast_store::LocalStore;
use support::{backup_options, init, noise, open, tools};

/// Names in the generated tree, chosen so that patterns are in doubt about them.
const NAMES: [&[u8]; 16] = [
    b"a",
    b"b",
    b"foo",
    b"Foo",
    b"bar.c",
    b"bar.o",
    b"BAR.O",
    b".hidden",
    b"a b",
    b"[x]",
    b"x*y",
    "\u{e4}".as_bytes(),
    "\u{c4}b".as_bytes(),
    b"x\\y",
    b"!not",
    b"f-o",
];
/// Parts of generated patterns.
const PARTS: [&str; 22] = [
    "a",
    "b",
    "foo",
    "Foo",
    "*",
    "**",
    "*.o",
    "bar.?",
    "[a-f]*",
    "[^a-f]*",
    "?",
    "*b",
    "f*o",
    "\\[x\\]",
    "x\\*y",
    "x*y",
    "\u{e4}",
    "[\u{e0}-\u{ff}]",
    ".",
    "..",
    "?oo",
    ".*",
];
/// Pattern lists beside the generated ones; `BASE` stands for the tree's path.
const LISTS: [&[&str]; 14] = [
    &["foo"],
    &["/foo"],
    &["BASE/a"],
    &["BASE/a/**/b/**"],
    &["BASE/**/b"],
    &["BASE/a/*", "!BASE/a/foo"],
    &["*", "!a", "!foo"],
    &["!foo"],
    &["*.o", "!bar.o", "BAR.O"],
    &["**/a/**/b/**"],
    &["a/./b/../foo"],
    &["\\!not", "x\\\\y"],
    &["", "!", "."],
    &["**/**"],
];
/// Pattern lists that are generated.
const GENERATED: usize = 40;

/// Small numbers that look random, always the same.
struct Dice(std::vec::IntoIter<u8>);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(noise(1 << 16, seed).into_iter())
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.0.next().unwrap()) % bound
    }
}

fn make_tree(folder: &Path, depth: usize, dice: &mut Dice) {
    std::fs::create_dir(folder).unwrap();
    for name in NAMES {
        let path = folder.join(OsStr::from_bytes(name));
        match dice.below(8) {
            0..=2 if depth < 3 => make_tree(&path, depth + 1, dice),
            3..=5 => std::fs::write(path, "").unwrap(),
            _ => {}
        }
    }
}

fn generated_list(dice: &mut Dice, base: &str) -> Vec<String> {
    (0..1 + dice.below(3))
        .map(|_| {
            let mut pattern = String::new();
            if dice.below(4) == 0 {
                pattern.push('!');
            }
            match dice.below(4) {
                0 => pattern.push_str(base),
                1 => pattern.push('/'),
                _ => {}
            }
            for number in 0..1 + dice.below(4) {
                if number > 0 || pattern.len() > 2 {
                    pattern.push('/');
                }
                pattern.push_str(PARTS[dice.below(PARTS.len())]);
            }
            pattern
        })
        .collect()
}

/// Paths that outlast takes.
fn taken(source: &dyn Source) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    let mut places = vec![source.root()];
    while let Some(place) = places.pop() {
        for name in source.names(&place).unwrap() {
            if let Some(found) = source.look(&place, &name).unwrap() {
                taken.insert(found.path.to_string_lossy().into_owned());
                places.extend(found.place);
            }
        }
    }
    taken
}

struct Restic<'a> {
    program: &'a Path,
    repository: &'a Path,
    folder: &'a Path,
}

impl Restic<'_> {
    fn run(&self, arguments: &[OsString]) -> Result<String, String> {
        let output = Command::new(self.program)
            .args(["--no-cache", "--json", "-r"])
            .arg(self.repository)
            .args(arguments)
            .env("RESTIC_PASSWORD", "test password")
            .current_dir(self.folder)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Paths that restic would take.
    fn would_take(&self, arguments: &[OsString]) -> Result<BTreeSet<String>, String> {
        let begin = ["backup", "-vv", "--dry-run", "--no-scan", "--force"].map(OsString::from);
        let output = self.run(&[&begin, arguments].concat())?;
        let items = output.lines().filter_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            let item = message["item"].as_str()?;
            Some(item.trim_end_matches('/').to_owned())
        });
        Ok(items.filter(|item| !item.is_empty()).collect())
    }
}

#[test]
fn restic_and_outlast_leave_out_the_same() {
    let Some(program) = tools::restic_019() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("tree");
    let mut dice = Dice::new(1);
    make_tree(&base, 0, &mut dice);
    let repository = folder.path().join("repository");
    drop(init(Arc::new(LocalStore::open(&repository).unwrap())));
    let restic = Restic {
        program: &program,
        repository: &repository,
        folder: folder.path(),
    };
    let base_text = base.to_str().unwrap();
    let fixed = LISTS.iter().map(|list| {
        let patterns = list.iter();
        patterns
            .map(|text| text.replace("BASE", base_text))
            .collect()
    });
    let mut lists: Vec<Vec<String>> = fixed.collect();
    lists.extend((0..GENERATED).map(|_| generated_list(&mut dice, base_text)));
    let mut narrowed = 0;
    let everything =
        taken(&FileTree::new(std::slice::from_ref(&base), FileTreeOptions::default()).unwrap());
    for (number, list) in lists.iter().enumerate() {
        let fold_case = number % 3 == 2;
        let option = if fold_case { "--iexclude" } else { "--exclude" };
        let mut arguments = vec![base.clone().into_os_string()];
        let mut excludes = Excludes::default();
        let mut refused = false;
        for pattern in list {
            arguments.extend([option.into(), pattern.into()]);
            refused |= excludes.add_pattern(pattern.as_bytes(), fold_case).is_err();
        }
        let expected = restic.would_take(&arguments);
        assert_eq!(refused, expected.is_err(), "{option} {list:?}");
        let Ok(expected) = expected else {
            continue;
        };
        let options = FileTreeOptions {
            excludes,
            ..FileTreeOptions::default()
        };
        let ours = taken(&FileTree::new(std::slice::from_ref(&base), options).unwrap());
        let difference: Vec<_> = ours.symmetric_difference(&expected).take(10).collect();
        assert!(difference.is_empty(), "{option} {list:?}: {difference:?}");
        narrowed += usize::from(ours.len() < everything.len());
    }
    // Otherwise nothing would have been compared.
    assert!(narrowed > lists.len() / 3, "{narrowed}");
}

fn make_rich_tree(folder: &Path) {
    std::fs::create_dir_all(folder.join("work/a/deep")).unwrap();
    std::fs::create_dir_all(folder.join("a")).unwrap();
    std::fs::create_dir_all(folder.join("work/b/deep")).unwrap();
    std::fs::write(folder.join("a/outer"), "outer").unwrap();
    let a = folder.join("work/a");
    std::fs::write(a.join("deep/file"), "text").unwrap();
    std::fs::write(folder.join("work/b/other"), "more").unwrap();
    std::fs::write(a.join(OsString::from_vec(b"\xff\xfe<&>\x01".to_vec())), "").unwrap();
    std::os::unix::fs::symlink(OsStr::from_bytes(b"to \xff"), a.join("link")).unwrap();
    std::os::unix::fs::symlink("b", folder.join("work/also-b")).unwrap();
    std::fs::hard_link(a.join("deep/file"), a.join("hard")).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).arg(&a).status();
        // What a machine does not have is not compared on it.
        let _ = status.is_ok_and(|status| status.success());
    };
    let file = a.join("deep/file");
    let file = file.to_str().unwrap();
    run("setfattr", &["-n", "user.z", "-v", "1", file]);
    run("setfattr", &["-n", "user.a", "-v", "2"]);
    run("setfattr", &["-n", "user.empty"]);
    run("setfacl", &["-m", "u:4321:rwx", file]);
    run("setfacl", &["-d", "-m", "g:1234:rx"]);
    let _ = Command::new("setcap")
        .args(["cap_net_raw+ep", file])
        .status();
    run("chown", &["4321:1234"]);
    run("chmod", &["3771"]);
    for (name, kind) in [
        ("fifo", &["p"][..]),
        ("null", &["c", "1", "3"]),
        ("disk", &["b", "259", "300000"]),
    ] {
        let path = a.join(name);
        let _ = Command::new("mknod").arg(path).args(kind).output();
    }
    let old = rustix::fs::Timespec {
        tv_sec: -86_400 * 365 * 20,
        tv_nsec: 1,
    };
    let times = rustix::fs::Timestamps {
        last_access: old,
        last_modification: old,
    };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, a.join("link"), &times, flags).unwrap();
}

/// The first entries in which two trees differ.
fn first_difference(restic: &Restic<'_>, one: &str, other: &str) -> String {
    let text = |id: &str| {
        let cat = ["cat", "blob", id].map(OsString::from);
        restic.run(&cat).unwrap()
    };
    let nodes = |id: &str| -> Vec<serde_json::Value> {
        let mut tree: serde_json::Value = serde_json::from_str(&text(id)).unwrap();
        serde_json::from_value(tree["nodes"].take()).unwrap()
    };
    for (one, other) in nodes(one).iter().zip(&nodes(other)) {
        if one != other {
            return match (one["subtree"].as_str(), other["subtree"].as_str()) {
                (Some(one), Some(other)) if one != other => first_difference(restic, one, other),
                _ => format!("{one}\n{other}"),
            };
        }
    }
    format!("{}\n{}", text(one), text(other))
}

/// One test only, since it changes the current directory of the whole program.
#[test]
fn restic_and_outlast_make_the_same_trees_of_all_kinds_of_targets() {
    let Some(program) = tools::restic_019() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    make_rich_tree(folder.path());
    let work = folder.path().join("work");
    let repository_path = folder.path().join("repository");
    let store = Arc::new(LocalStore::open(&repository_path).unwrap());
    drop(init(store.clone()));
    let restic = Restic {
        program: &program,
        repository: &repository_path,
        folder: &work,
    };
    std::env::set_current_dir(&work).unwrap();
    let targets: [&[&str]; 10] = [
        &["a"],
        &["."],
        &["a", "./a/", "b/../a"],
        &["a", "../a"],
        &["../a", "a", "b"],
        &["a/deep/file", "b"],
        &["a", "a/deep"],
        &["a/deep", "a"],
        &["also-b", "a"],
        &["also-b/deep", "also-b"],
    ];
    for list in targets {
        let begin = ["backup", "--force", "--no-scan"];
        let arguments: Vec<OsString> = begin.iter().chain(list).map(OsString::from).collect();
        let output = restic.run(&arguments).unwrap();
        let summary = output.lines().last().unwrap();
        let summary: serde_json::Value = serde_json::from_str(summary).unwrap();
        let id = summary["snapshot_id"].as_str().unwrap();
        let snapshot = restic
            .run(&["cat", "snapshot", id].map(OsString::from))
            .unwrap();
        let snapshot: serde_json::Value = serde_json::from_str(&snapshot).unwrap();
        let targets: Vec<PathBuf> = list.iter().map(PathBuf::from).collect();
        let source = FileTree::new(&targets, FileTreeOptions::default()).unwrap();
        let repository = open(store.clone());
        let options = backup_options(1_700_000_000);
        let ours = backup(&repository, &source, &options, &NoObserver, &Cancel::new()).unwrap();
        let tree = snapshot["tree"].as_str().unwrap();
        let ours_tree = ours.tree.to_string();
        let difference = first_difference(&restic, tree, &ours_tree);
        assert_eq!(ours_tree, tree, "{list:?}: {difference}");
        let paths: BTreeSet<&str> = snapshot["paths"]
            .as_array()
            .unwrap()
            .iter()
            .map(|path| path.as_str().unwrap())
            .collect();
        let our_paths: BTreeSet<&str> = source
            .paths()
            .iter()
            .map(|path| path.to_str().unwrap())
            .collect();
        assert_eq!(our_paths, paths, "{list:?}");
    }
}
