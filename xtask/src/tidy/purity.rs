//! What code may not even mention.

use super::Violation;
use super::scan;
use crate::workspace::SourceFile;

/// Crates that compute and nothing else.
const PURE_CRATES: &[&str] = &[
    "crates/outlast-object/src/",
    "crates/outlast-format/src/",
    "crates/outlast-log/src/",
    "crates/outlast-custody/src/",
];

/// Parts of the standard library that touch the world.
const WORLD: &[&str] = &["env", "fs", "net", "os", "process", "thread"];

/// Types that read a clock.
const CLOCKS: &[&str] = &["SystemTime", "Instant"];

/// Modules of the engine that write backups; nothing in them can name what deletes.
const BACKUP_PATH: &str = "crates/outlast-repo/src/backup";

/// The capability to remove objects.
const DELETION: &str = "Deletes";

/// Pure crates do not touch the world, and the backup path cannot delete.
pub fn check(file: &SourceFile) -> Vec<Violation> {
    if !file.has_extension("rs") {
        return Vec::new();
    }
    let mut violations = Vec::new();
    let views = scan::split(&file.text);
    let code = scan::without_tests(&views.code);
    if PURE_CRATES
        .iter()
        .any(|prefix| file.path.starts_with(prefix))
    {
        for module in standard_modules(code) {
            if WORLD.contains(&module.name.as_str()) {
                let message = format!("a pure crate does not use std::{}", module.name);
                violations.push(Violation::at(file, module.line_index, message));
            }
        }
        for clock in CLOCKS {
            for index in scan::lines_with_word(code, clock) {
                let message = format!("a pure crate has no clock: `{clock}`");
                violations.push(Violation::at(file, index, message));
            }
        }
    }
    if file.path.starts_with(BACKUP_PATH) {
        for index in scan::lines_with_word(code, DELETION) {
            let message = "the backup path never holds what can delete";
            violations.push(Violation::at(file, index, message));
        }
    }
    violations
}

struct Mention {
    name: String,
    line_index: usize,
}

/// The modules of the standard library that are named as `std::name` or inside `std::{…}`.
fn standard_modules(code: &str) -> Vec<Mention> {
    let mut mentions = Vec::new();
    for (start, text) in code.match_indices("std::") {
        let line_index = code[..start].matches('\n').count();
        let after = &code[start + text.len()..];
        let names: Vec<&str> = match after.strip_prefix('{') {
            Some(group) => first_level(group),
            None => vec![after],
        };
        for name in names {
            let name: String = name
                .trim_start()
                .chars()
                .take_while(|character| character.is_alphanumeric() || *character == '_')
                .collect();
            mentions.push(Mention { name, line_index });
        }
    }
    mentions
}

/// The parts of a group up to its closing brace, split at the commas that are not in inner groups.
fn first_level(group: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&group[start..index]);
                return parts;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, code: &str) -> usize {
        check(&SourceFile::new(path, code)).len()
    }

    #[test]
    fn a_pure_crate_that_touches_the_world_is_found() {
        let path = "crates/outlast-format/src/some.rs";
        for planted in [
            "use std::fs;",
            "use std::fs::File;",
            "fn f() { std::thread::spawn(|| {}); }",
            "use std::{fmt, net::TcpStream};",
            "use std::{collections::{BTreeMap, BTreeSet}, env};",
            "use std::time::Instant;",
            "fn now() -> std::time::SystemTime { later() }",
        ] {
            assert_eq!(found(path, planted), 1, "{planted}");
            assert_eq!(found("crates/outlast-store/src/some.rs", planted), 0);
        }
        for fine in [
            "use std::fmt;",
            "use std::{io::Read, time::Duration};",
            "// std::fs is not used here",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n",
        ] {
            assert_eq!(found(path, fine), 0, "{fine}");
        }
    }

    #[test]
    fn a_backup_that_could_delete_is_found() {
        let planted = "fn backup(store: &dyn Deletes) {}";
        assert_eq!(found("crates/outlast-repo/src/backup/mod.rs", planted), 1);
        assert_eq!(found("crates/outlast-repo/src/backup.rs", planted), 1);
        assert_eq!(found("crates/outlast-repo/src/prune.rs", planted), 0);
        let fine = "// Deletes is a capability apart.\nfn backup(store: &dyn Store) {}";
        assert_eq!(found("crates/outlast-repo/src/backup.rs", fine), 0);
    }
}
