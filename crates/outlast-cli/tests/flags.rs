//! Every flag of restic 0.19 exists under the same name, long and short.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use support::tools::restic_019;
use support::{OUTLAST, World};

const VERBS: [&str; 30] = [
    "init",
    "backup",
    "snapshots",
    "ls",
    "find",
    "diff",
    "dump",
    "restore",
    "mount",
    "check",
    "forget",
    "prune",
    "copy",
    "tag",
    "key list",
    "key add",
    "key remove",
    "key passwd",
    "stats",
    "cat",
    "list",
    "unlock",
    "repair index",
    "repair packs",
    "repair snapshots",
    "rewrite",
    "recover",
    "version",
    "cache",
    "generate",
];

/// Accepted and without effect, and so not shown; or refused.
const NOT_SHOWN: [&str; 2] = ["--no-extra-verify", "--http-user-agent"];

/// The flags that a help text lists, as `-r, --repo` or `--json`.
fn flags(help: &str) -> BTreeSet<String> {
    let flag = |line: &str| {
        let line = line.trim_start();
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        let long = |word: &str| {
            let end = word.find(['=', '[', '.']).unwrap_or(word.len());
            word[..end].to_owned()
        };
        match words.as_slice() {
            [short, name, ..] if short.ends_with(',') && name.starts_with("--") => {
                Some(format!("{short} {}", long(name)))
            }
            [name, ..] if name.starts_with("--") => Some(long(name)),
            _ => None,
        }
    };
    // What is not indented is prose.
    let lines = help.lines().filter(|line| line.starts_with(' '));
    lines.filter_map(flag).collect()
}

fn help(world: &World, program: &Path, verb: &str) -> BTreeSet<String> {
    let mut arguments: Vec<&str> = verb.split(' ').collect();
    arguments.push("--help");
    flags(&world.succeeding(program, &arguments))
}

#[test]
fn every_flag_of_restic_has_its_name() {
    let Some(restic) = restic_019() else { return };
    let world = World::new();
    for verb in VERBS {
        let theirs = help(&world, &restic, verb);
        let ours = help(&world, Path::new(OUTLAST), verb);
        assert!(theirs.len() > 20, "{verb}: {theirs:?}");
        let missing: Vec<_> = theirs
            .difference(&ours)
            .filter(|flag| !NOT_SHOWN.contains(&flag.as_str()))
            .collect();
        assert!(missing.is_empty(), "{verb}: {missing:?}");
    }
}
